"""The verb ``serve``: other people's tools pull from it, and it ends when it is told to."""

import json
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from flows.pull import pull
from prestow.digest import Digest
from prestow.store.node import open_node
from tests.flows.cli.conftest import Called, Prestow
from tests.serving import serving


def inspected(name: str) -> bytes:
    """Return the raw document that skopeo finds."""
    command = ["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{name}"]
    return subprocess.run(command, check=True, capture_output=True).stdout


def test_skopeo_pulls_from_a_store(
    alone: Prestow, tmp_path: Path, home: Path, prefect_server: object, demo_layout: Path
) -> None:
    pulled = pull(f"oci:{demo_layout}:demo", name="registry.example/team/demo:1", home=str(home))

    with serving(alone) as server:
        source = f"docker://{server.domain}/registry.example/team/demo:1"
        copy = ["skopeo", "copy", "-q", "--src-tls-verify=false", "--override-arch", "amd64", "--override-os", "linux"]
        subprocess.run([*copy, source, f"oci:{tmp_path}/copy:demo"], check=True)

    content = open_node(str(home)).content
    for digest in map(Digest.parse, (str(pulled.manifest_digest), *(layer.digest for layer in pulled.layers))):
        assert (tmp_path / "copy/blobs" / digest.algorithm / digest.encoded).read_bytes() == content.read(digest)


def test_skopeo_pulls_from_a_layout_and_ctrl_c_ends_it(alone: Prestow, demo_layout: Path) -> None:
    with serving(alone, "--layout", str(demo_layout), end=signal.SIGINT) as server:
        raw = inspected(f"{server.domain}/demo:latest")

    target = json.loads((demo_layout / "index.json").read_bytes())["manifests"][0]
    assert len(raw) == target["size"]
    assert not alone.home.exists()


def test_an_address_in_use_is_said_in_one_line(alone: Prestow, demo_layout: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = alone("serve", "--listen", address, "--layout", str(demo_layout))

    assert (done.status, done.out, done.err.count("\n")) == (8, "", 1)
    assert address in done.err
    assert "in use" in done.err


@pytest.mark.parametrize("name", ["absent", "."])
def test_a_layout_that_is_none_is_said_in_one_line(called: Called, tmp_path: Path, name: str) -> None:
    done = called("serve", "--layout", str(tmp_path / name))

    assert (done.status, done.out, done.err.count("\n")) == (3, "", 1)
    assert str(tmp_path) in done.err
