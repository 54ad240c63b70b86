"""``prestow pull`` from registries that misbehave: what its user sees, and what the registry was asked."""

import json
import os
import random
import re
import resource
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest

from prestow.digest import Digest
from tests.flows.cli.conftest import Called, Prestow
from tests.image_factory import put_blob, put_document, read_blob, tag, write_image
from tests.registries import Access, Fault, FaultRegistry
from tests.tar_builder import Tar

MIB = 1 << 20
ENDLESS = bytes(1 << 30)  # of zeros, which take no memory as long as they are only read
BUSY = 429


def documents(layout: Path) -> tuple[dict[str, str], dict[str, object]]:
    """Return the descriptor of the demo image's manifest for amd64, and that manifest."""
    (index,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    described = json.loads(read_blob(layout, Digest.parse(index["digest"])))["manifests"][0]
    return described, json.loads(read_blob(layout, Digest.parse(described["digest"])))


def digests(layout: Path) -> tuple[str, list[str]]:
    """Return the digests of the config and of the layers."""
    _, manifest = documents(layout)
    return manifest["config"]["digest"], [layer["digest"] for layer in manifest["layers"]]  # type: ignore[index]


@pytest.mark.long
def test_an_endless_document_costs_neither_memory_nor_time(prestow: Prestow, demo_layout: Path) -> None:
    """B-05: whatever comes as config, as token or as error is a GiB; four pulls at once."""
    config, _ = digests(demo_layout)
    faults = {
        "config": (config, None),
        "index": ("/manifests/demo", None),
        "token": ("/token", None),
        "error": ("", 403),
    }
    # the memory of its own that a pull may take; what it has taken at most, the kernel counts from before it began
    bounded = partial(resource.setrlimit, resource.RLIMIT_DATA, (700 * MIB, 700 * MIB))
    with ExitStack() as stack:
        pulls = {}
        for name, (pattern, status) in faults.items():
            registry = stack.enter_context(FaultRegistry(demo_layout))
            registry.on(pattern, Fault(status=status, body=ENDLESS), method="GET")
            registry.on(pattern, Fault(status=405), method="HEAD")
            if name == "token":
                registry.access = Access(f"{registry.url}/token")
            pulls[name] = prestow.start("pull", f"{registry.own}:demo", preexec_fn=bounded)
        for name, process in pulls.items():
            assert process.stderr is not None
            said = process.stderr.read()
            process.communicate()
            assert process.returncode not in {0, 1}, (name, said)
            assert "Traceback" not in said, name
    assert prestow("images", "--json").document == []


def test_a_config_beyond_the_limit_is_not_even_asked_for(called: Called, fault_registry: FaultRegistry) -> None:
    """B-05."""
    layout = fault_registry.layout
    _, manifest = documents(layout)
    config = put_blob(layout, b" " * (5 * MIB), manifest["config"]["mediaType"])  # type: ignore[index]
    manifest["config"] = {"mediaType": config.media_type, "digest": config.digest, "size": config.size}
    tag(layout, put_document(layout, manifest, str(manifest["mediaType"])), "large")

    done = called("pull", f"{fault_registry.own}:large")

    assert "limited to 4194304 bytes" in done.err
    assert done.status not in {0, 1}
    assert fault_registry.requests(config.digest) == []


def test_tokens_that_expire_all_the_time_are_replaced_and_blobs_resumed(
    called: Called, fault_registry: FaultRegistry
) -> None:
    """B-33: each token is good for one request, and a layer, the only one, breaks off in the middle."""
    tar = Tar().file("f", random.Random(33).randbytes(4096)).to_bytes()
    target = write_image(fault_registry.layout, [tar], ref="single")
    (described,) = json.loads(read_blob(fault_registry.layout, target.digest))["layers"]
    layer = described["digest"]
    fault_registry.access = Access(f"{fault_registry.url}/token", uses=1)
    fault_registry.on(layer, Fault(drop_after=100), times=2)  # one of them is refused, for its token was used before

    done = called("pull", f"{fault_registry.own}:single", "--json")

    assert done.status == 0, done.err
    resumed = [seen for seen in fault_registry.requests(layer) if seen.headers.get("Range") == "bytes=100-"]
    assert [seen.headers.get("Authorization") is not None for seen in resumed][-1]
    admitted = len(fault_registry.requests("/v2/")) - len(fault_registry.access.tokens)
    assert len(fault_registry.requests("/token")) == len(fault_registry.access.tokens)
    assert len(fault_registry.access.tokens) <= admitted + 1  # one refresh a request, no circle


@pytest.mark.long
def test_a_wait_that_a_registry_asks_for_is_kept_and_nonsense_does_no_harm(
    prestow: Prestow, fault_registry: FaultRegistry
) -> None:
    """B-39: everything is refused once, each time with another ``Retry-After``."""
    described, _ = documents(fault_registry.layout)
    config, layers = digests(fault_registry.layout)
    asked = ["3", "Thu, 01 Jan 2015 00:00:00 GMT", "-1", "x", None]
    for pattern, wait in zip(["/manifests/demo", described["digest"], *layers], asked, strict=True):
        fault_registry.on(pattern, Fault(status=BUSY, headers={"Retry-After": wait}), times=1)
    fault_registry.on(config, Fault(status=BUSY, headers={}), times=1)

    done = prestow("pull", f"{fault_registry.own}:demo")

    assert done.status == 0, done.err
    waits = [float(found) for found in re.findall(r"in ([0-9.]+) s", done.err)]
    assert waits, done.err
    assert max(waits) >= 3
    assert max(Counter(seen.path for seen in fault_registry.requests("/blobs/")).values()) == 2


@pytest.mark.long
def test_a_wait_that_is_too_long_is_not_begun(prestow: Prestow, fault_registry: FaultRegistry) -> None:
    """B-39."""
    words = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"come back tomorrow"}]}'
    fault_registry.on("", Fault(status=BUSY, headers={"Retry-After": "1000000000"}, body=words))

    done = prestow("pull", f"{fault_registry.own}:demo")

    assert done.status not in {0, 1}
    assert f"{fault_registry.domain} asked for 86400 s, until " in done.err
    assert "429 Too Many Requests (TOOMANYREQUESTS: come back tomorrow)" in done.err
    assert [seen.method for seen in fault_registry.seen] == ["HEAD", "GET"]  # an answer to HEAD has no words
    assert prestow("pull", f"{fault_registry.own}:other").status == done.status
    assert len(fault_registry.seen) == 2
    assert f"server {fault_registry.domain}" in (said := prestow("doctor").out)
    assert "asked to be left alone for another" in said


@pytest.mark.long
def test_a_wait_that_one_pull_is_asked_for_is_kept_by_all(prestow: Prestow, fault_registry: FaultRegistry) -> None:
    """Two pulls over one connection: after the refusal of one layer, neither asks for anything for 2 s."""
    layers = [Tar().file(f"f{number}", b"x").to_bytes() for number in range(7)]
    write_image(fault_registry.layout, layers, ref="other")
    fault_registry.on("/blobs/", Fault(status=BUSY, headers={"Retry-After": "2"}), times=1)

    tags = ["demo", "other"]
    pulls = [
        prestow.start("pull", f"{fault_registry.own}:{tag}", env={"PRESTOW_REGISTRY_CONNECTIONS": "1"}) for tag in tags
    ]
    said = [process.communicate()[1] for process in pulls]

    assert [process.returncode for process in pulls] == [0, 0], said
    assert f"{fault_registry.domain} asked for 2 s: " in "".join(said)
    refused, *_ = fault_registry.requests("/blobs/")
    assert not [seen for seen in fault_registry.seen if 0 < seen.at - refused.at < 2]


@pytest.mark.long
def test_blobs_come_no_faster_than_the_setting_allows(prestow: Prestow, fault_registry: FaultRegistry) -> None:
    layer = Tar().file("f", random.Random(3).randbytes(400_000)).to_bytes()
    write_image(fault_registry.layout, [layer], ref="large", compression="none")
    rate, most_at_once = 200_000, 1 << 16

    done = prestow("pull", f"{fault_registry.own}:large", "--json", env={"PRESTOW_REGISTRY_RATE": str(rate)})

    assert done.status == 0, done.err
    assert done.document["seconds"]["fetch_layer"] >= (len(layer) - most_at_once) / rate


@contextmanager
def speechless(kind: str) -> Iterator[str]:
    """Listen, and never answer: as a server that accepts, one whose headers do not end, or one that does not accept."""
    ended = threading.Event()
    server = socket.create_server(("127.0.0.1", 0), backlog=0 if kind == "unreachable" else 16)
    held = []

    def answer() -> None:
        while not ended.is_set():
            with suppress(OSError):
                connection, _ = server.accept()
                held.append(connection)
                if kind == "headers":
                    threading.Thread(target=drip, args=[connection], daemon=True).start()

    def drip(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not ended.wait(1):
                connection.sendall(b"X: y\r\n")

    if kind == "unreachable":
        held += [socket.create_connection(server.getsockname()) for _ in range(1)]
    else:
        threading.Thread(target=answer, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}"
    finally:
        ended.set()
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()
        for connection in held:
            connection.close()


@pytest.mark.large
@pytest.mark.timeout(1200)
def test_a_registry_that_says_nothing_is_given_up(prestow: Prestow) -> None:
    """B-45, with the deadlines that users have: three pulls at once, five attempts each."""
    with ExitStack() as stack:
        pulls = {}
        for kind in ("silent", "headers", "unreachable"):
            domain = stack.enter_context(speechless(kind))
            pulls[kind] = prestow.start("pull", f"{domain}/team/app:demo")
        for kind, process in pulls.items():
            _, said = process.communicate()
            assert process.returncode == 8, (kind, said)
            assert "Traceback" not in said


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file that says where names are looked up")
def test_a_host_whose_name_does_not_exist_is_tried_for_seconds_only(prestow: Prestow, tmp_path: Path) -> None:
    only_files = tmp_path / "nsswitch.conf"
    only_files.write_text("hosts: files\n", "utf-8")  # else this depends on the DNS server of this machine
    mounted = 'mount --bind "$0" /etc/nsswitch.conf && exec "$@"'

    done = prestow("pull", "no-such-host.invalid/a:1", prefix=("unshare", "-m", "sh", "-c", mounted, str(only_files)))

    what = "https://no-such-host.invalid/v2/a/manifests/1: no connection: Name or service not known; "
    what += "correct the name, check this host's DNS, or set HTTPS_PROXY if only a proxy reaches it"
    said = done.err.splitlines()
    assert (done.status, done.out, said[-1]) == (8, "", f"prestow: {what}")
    assert [re.sub(r"[0-9.]+ s", "… s", line) for line in said[:-1]] == [
        f"resolve no-such-host.invalid/a:1: tried again in … s: {what}"
    ] * 2
