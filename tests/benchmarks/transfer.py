"""One blob from nginx into the store, beside curl and skopeo: ``python -m tests.benchmarks.transfer``.

    --size MIB   of the blob (1024)          --limit RATE   nginx's limit_rate of each connection, such as 20m
    --rounds N   after one that warms up (3) --folder DIR   a tmpfs (/dev/shm)
    --kills N    prestow alone, killed N times within 0.1 to 0.6 s of its first byte, then left to end

Prints, as JSON, the seconds of each contestant and of its processors, the medians as ratios to curl's and skopeo's, and
the most memory that each took. prestow fetches, hashes, verifies and commits; curl only writes; skopeo copies the image
to a directory. With kills: the MiB that nginx sent beyond the blob's.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from prestow.content.local import LocalStore
from prestow.content.verify import verify
from prestow.digest import Digest, Digester
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.hosts import Options
from prestow.registry.pacing import Pacing
from prestow.registry.source import Sources
from tests.nginx import nginx
from tests.processes import Child

_FETCH = "fetch"
_SERVER = f"""
location ~ /manifests/ {{{{ root {{root}}; default_type {OCI_MANIFEST}; }}}}
location / {{{{ root {{root}}; {{limit}} }}}}
"""


def written(root: Path, size: int) -> Descriptor:
    """Write a registry as plain files, with an image of one layer of ``size`` MiB, and return that layer."""
    blobs, manifests = root / "v2/bench/app/blobs", root / "v2/bench/app/manifests"
    blobs.mkdir(parents=True)
    manifests.mkdir(parents=True)
    (root / "v2/index.html").write_text("{}")
    digester = Digester()
    with (blobs / "new").open("wb") as file:
        for _ in range(size):
            piece = os.urandom(1 << 20)
            file.write(piece)
            digester.write(piece)
    layer = digester.digest()
    (blobs / "new").rename(blobs / layer)
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [layer]}, "config": {}}
    ).encode()
    (blobs / Digest.of(config)).write_bytes(config)
    entry = {"mediaType": OCI_CONFIG, "digest": Digest.of(config), "size": len(config)}
    layers = [{"mediaType": OCI_LAYER, "digest": layer, "size": size << 20}]
    manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": entry, "layers": layers}
    (manifests / "1").write_text(json.dumps(manifest))
    return Descriptor(OCI_LAYER, layer, size << 20)


def fetch(home: str, domain: str, digest: str, size: str, connections: str) -> None:
    """Fetch and commit a blob, as the steps fetch_layer and verify do."""
    content = LocalStore(Path(home, "content"), Path(home, "ingest"))
    blob = Descriptor(OCI_LAYER, Digest.parse(digest), int(size))
    with Sources(Options(connections=int(connections)), pacing=Pacing(Path(home, "registries"))) as sources:
        fetch_blob(sources.open(Reference.parse(f"{domain}/bench/app:1")), content, blob)
    verify(content, blob)


def measured(command: list[str]) -> tuple[float, float, int]:
    """Run a command; return its seconds, those of its processors, and the KiB of memory that it took at most."""
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.monotonic() - began
    if process.returncode:
        raise SystemExit(f"{command}: status {process.returncode}")
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss


def killed(command: list[str], home: Path, times: int) -> None:
    """Run a command and kill it so many times, each soon after its first bytes came; then let it end."""
    home.mkdir()
    for _ in range(times):
        before = _written(home)
        with Child(command) as process:
            while process.poll() is None and _written(home) == before:
                time.sleep(0.005)
            time.sleep(random.uniform(0.1, 0.6))
            process.kill()
    subprocess.run(command, check=True)


def _written(home: Path) -> int:
    """Return the bytes that the store takes."""
    return sum(path.stat().st_blocks for path in home.rglob("*") if path.is_file())


def main() -> None:
    """Let them take turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--limit", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", default="/dev/shm")
    parser.add_argument("--kills", type=int, default=0)
    args = parser.parse_args()
    times: dict[str, list[float]] = {}
    processors: dict[str, list[float]] = {}
    memory: dict[str, int] = {}
    with TemporaryDirectory(dir=args.folder) as folder:
        root, home = Path(folder, "root"), Path(folder, "home")
        blob = written(root, args.size)
        limit = f"limit_rate {args.limit};" if args.limit else ""
        with nginx(Path(folder, "nginx"), _SERVER.format(root=root, limit=limit), http="sendfile on;") as server:
            url = f"http://{server.domain}/v2/bench/app/blobs/{blob.digest}"
            ours = [sys.executable, "-m", "tests.benchmarks.transfer", _FETCH, str(home), server.domain]
            ours += [blob.digest, str(blob.size)]
            if args.kills:
                killed([*ours, "8"], home, args.kills)
                server.process.terminate()
                server.process.wait()
                sent = sum(int(line["sent"]) for line in server.seen(blob.digest))
                print(json.dumps({"MiB beyond the blob's": round((sent - blob.size) / (1 << 20), 1)}))
                return
            skopeo = ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{server.domain}/bench/app:1"]
            contestants = {
                "curl": ["curl", "-sf", "-o", str(home / "blob"), url],
                "skopeo": [*skopeo, f"dir:{home}"],
                "prestow, 1 connection": [*ours, "1"],
                "prestow, 8 connections": [*ours, "8"],
            }
            for turn in range(args.rounds + 1):
                for name, command in contestants.items():
                    shutil.rmtree(home, ignore_errors=True)
                    home.mkdir()
                    took, busy, most = measured(command)
                    if turn:
                        processors.setdefault(name, []).append(round(busy, 2))
                        times.setdefault(name, []).append(round(took, 2))
                        memory[name] = max(memory.get(name, 0), most >> 10)
    median = {name: statistics.median(found) for name, found in times.items()}
    ratios = {
        f"{name} / {peer}": round(median[name] / median[peer], 2)
        for name in times
        if name.startswith("prestow")
        for peer in ("curl", "skopeo")
    }
    print(json.dumps({"seconds": times, "processor seconds": processors, "ratios": ratios, "MiB": memory}, indent=1))


if __name__ == "__main__":
    if sys.argv[1:2] == [_FETCH]:
        fetch(*sys.argv[2:])
    else:
        main()
