"""Commands in a row on one store, with the exit statuses and JSON documents that ``recorded.json`` has of them.

A change of any field, figure or word of an answer is seen in the diff of that file. To record it anew, remove it and
run this test, which then writes it and fails once:

    rm tests/flows/cli/recorded.json; .venv/bin/pytest tests/flows/cli/test_recorded.py; git diff

Times, durations, paths, and what depends on the machine or its disk are masked. Digests are not: the image's layers are
stored in their gzip members, as versions of zlib compress differently.
"""

import json
import re
import struct
import zlib
from difflib import unified_diff
from pathlib import Path
from typing import Any

import pytest

from prestow.digest import Digest
from prestow.store.node import open_node
from tests.conformance.snapshotter_damage import flip
from tests.flows.cli.conftest import PROJECT, Called
from tests.image_factory import DEMO_CONFIG, demo_layers, layer_type, put_blob, put_documents, put_index, tag

RECORDED = Path(__file__).with_name("recorded.json")

LINES = """
images
images inspect demo
snapshots
containers
server status
server stop
warm status
pull oci:TMP/layout:demo --platform linux/amd64 --dry-run
pull oci:TMP/layout:demo --platform linux/amd64 --stop-after layer-stored
verify --all
explain sha256:ed81d490
prune --dry-run
pull oci:TMP/layout:demo --platform linux/amd64
pull oci:TMP/layout:demo --platform linux/amd64 --name again/demo:1
images
images --filter label=team
images inspect demo
images tag demo team/app:1
images label team/app:1 team=vision prestow.source-
images --filter label=team
images rm again/demo:1 team/app:1
bundle demo TMP/copied --copy --id copied
bundle demo TMP/bundle --id box
containers
containers --namespace other
images rm demo
snapshots
explain demo
explain box
explain sha256:26595863
explain copied
verify demo
verify --all
prune --dry-run
containers stop box
images rm --force demo
containers rm box
prune --dry-run
prune
snapshots
prepull --platform linux/amd64 oci:TMP/layout:demo oci:TMP/layout:none
pull oci:TMP/none:demo
pull oci:TMP/layout:demo --platform linux/riscv64
pull NOT-A-NAME
pull demo --driver zfs
pull
bundle nothing TMP/nothing
run --pull never nothing
images inspect nothing
images tag demo NOT-A-NAME
images label demo team
images rm nothing
images --namespace no/name
containers rm nothing
verify nothing
verify demo --all
explain nothing
images --what
nothing
doctor
"""

DAMAGED = """
verify demo
verify --all
verify demo --repair
verify demo
"""

TIMES = {"created_at", "updated_at", "used_at"}
MACHINE = {"host", "works", "found", "advice", "value", "default", "meaning", "needed_bytes", "free_bytes"}
LEASE = r"\b[0-9a-f]{16}\b"
FREE = {"config", "labels", "seconds", "totals"}
"""Fields whose own fields the reference does not list."""


def gzip(data: bytes) -> bytes:
    """Return a gzip member with one stored block (RFC 1952; RFC 1951, section 3.2.4)."""
    length = len(data)
    head = b"\x1f\x8b\x08" + bytes(6) + b"\xff" + struct.pack("<BHH", 1, length, length ^ 0xFFFF)
    return head + data + struct.pack("<II", zlib.crc32(data), length)


def write_layout(layout: Path) -> Digest:
    """Write the demo image for linux/amd64, as ``demo``, and return the digest of a layer's tar."""
    tars = demo_layers("amd64")
    blobs = [put_blob(layout, gzip(tar), layer_type("gzip")) for tar in tars]
    diff_ids = [Digest.of(tar) for tar in tars]
    manifest = put_documents(layout, blobs, diff_ids, config=DEMO_CONFIG)
    tag(layout, put_index(layout, [manifest]), "demo")
    return diff_ids[1]


def masked(found: Any, tmp: str, within: str = "") -> Any:
    """Return a document without what differs from run to run or from machine to machine."""
    if isinstance(found, list):
        return [masked(each, tmp, within) for each in found]
    if not isinstance(found, dict):
        return re.sub(LEASE, "LEASE", found.replace(tmp, "TMP")) if isinstance(found, str) else found
    if "dry_run" in found:  # blobs go in the order of a directory
        found["removed"].sort(key=lambda gone: (gone["kind"], gone["name"] if gone["kind"] == "blob" else ""))
    hidden = {*(TIMES & {name for name, value in found.items() if value is not None}), *MACHINE}
    if within == "seconds":
        hidden |= set(found)
    if "snapshot" in (within, found.get("kind")) or "dry_run" in found:
        hidden.add("bytes")  # of a directory, and of sums: file systems differ
    return {name: "..." if name in hidden else masked(value, tmp, name) for name, value in found.items()}


def fields(found: Any) -> set[str]:
    """Return the names of all fields that the reference is to list."""
    if isinstance(found, list):
        return set().union(*map(fields, found))
    if not isinstance(found, dict):
        return set()
    return set(found).union(*(fields(value) for name, value in found.items() if name not in FREE))


def test_commands_answer_as_it_is_recorded(
    called: Called, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_DRIVER", "native")
    monkeypatch.setenv("PRESTOW_HOSTS_DIRS", "[]")  # doctor lists what this host has there
    diff_id = write_layout(tmp_path / "layout")
    answers = []

    def call(lines: str) -> None:
        for line in lines.strip().splitlines():
            done = called("--json", *line.replace("TMP", str(tmp_path)).split())
            document = masked(done.document, str(tmp_path)) if done.out else None
            answers.append({"command": line, "status": done.status, "document": document})

    call(LINES)
    flip(open_node(str(home)).content.path(diff_id))
    call(DAMAGED)

    found = json.dumps(answers, indent=1) + "\n"
    if not RECORDED.exists():
        RECORDED.write_text(found, encoding="utf-8")
        pytest.fail(f"{RECORDED} is written anew; look at its diff")
    changes = unified_diff(
        RECORDED.read_text("utf-8").splitlines(), found.splitlines(), "recorded", "found", lineterm=""
    )
    if text := "\n".join(changes):
        pytest.fail(text)


def test_the_reference_lists_every_field() -> None:
    page = (PROJECT / "docs/reference/json.md").read_text("utf-8")
    recorded = json.loads(RECORDED.read_text("utf-8"))

    assert fields([answer["document"] for answer in recorded]) - set(re.findall("`([a-z_]+)`", page)) == set()
