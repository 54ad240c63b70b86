"""One token ends all of a run's work: whatever moves bytes, or waits for somebody, looks at it."""

import threading
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path

import pytest

from prestow.cancellation import Token, check, current, pause, watched
from prestow.content.local import LocalStore
from prestow.content.lock import FileLock
from prestow.content.refs import diff_ref, layer_ref
from prestow.digest import Digest
from prestow.errors import CancelledError
from prestow.fsck.image import fsck_image
from prestow.gc.prune import prune
from prestow.layers.ahead import ahead
from prestow.layers.scans import Scans
from prestow.metadata.tag import untag
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Layer
from prestow.reference import parse_source
from prestow.registry.hosts import Options
from prestow.registry.source import Sources
from prestow.store.node import open_node
from tests.cancel_at import CancelAt
from tests.image_factory import compress, layer_type
from tests.pulling import NAME, pulled
from tests.registries import Fault, FaultRegistry
from tests.tar_builder import Tar


def test_a_token_is_set_once_and_the_first_reason_counts() -> None:
    token = Token()
    token.check()

    token.cancel("one")
    token.cancel("two")

    assert token.cancelled
    with pytest.raises(CancelledError, match="one"):
        token.check()
    with pytest.raises(CancelledError, match="one"):
        token.wait(60)


def test_a_part_ends_with_the_whole_and_not_the_other_way_round() -> None:
    whole = Token()
    one, other = whole.part(), whole.part()

    one.cancel("only this")
    assert not whole.cancelled
    assert not other.cancelled
    whole.cancel("all")

    assert (one.reason, other.reason, whole.part().reason) == ("only this", "all", "all")


def test_work_without_a_token_goes_on() -> None:
    assert current() is None
    check()
    pause(0)


def test_the_token_is_seen_inside_its_block_and_in_threads_that_take_the_context_along() -> None:
    seen: list[Token | None] = []
    with watched(Token()) as token:
        with watched(token.part()):
            assert current() is not token
        thread = threading.Thread(target=copy_context().run, args=(lambda: seen.append(current()),))
        thread.start()
        thread.join()

    assert seen == [token]
    assert current() is None


def test_waiting_for_a_lock_ends(tmp_path: Path) -> None:
    token = Token()
    timer = threading.Timer(0.05, token.cancel, ("enough",))
    with FileLock(tmp_path / "lock", timeout=0, what="it"), watched(token):
        timer.start()
        with pytest.raises(CancelledError, match="enough"):
            FileLock(tmp_path / "lock", timeout=60, what="it")


@pytest.mark.parametrize("fault", [Fault(silent=True), Fault(stall_after=100)], ids=["headers", "body"])
def test_waiting_for_a_registry_that_says_nothing_ends(fault_registry: FaultRegistry, fault: Fault) -> None:
    source = Sources(Options()).open(parse_source(f"{fault_registry.domain}/team/demo:demo"))
    target = source.resolve()
    fault_registry.on("/manifests/sha256", fault)
    token = Token()

    def cancel_when_asked() -> None:
        while not fault_registry.requests("/manifests/sha256"):
            fault_registry.ended.wait(0.01)
        token.cancel("enough")

    threading.Thread(target=cancel_when_asked, daemon=True).start()
    with watched(token), pytest.raises(CancelledError, match="enough"), source.fetch(target) as chunks:
        for _ in chunks:
            pass


def test_decompressing_ahead_ends_and_leaves_no_ingest(tmp_path: Path) -> None:
    content = LocalStore(tmp_path / "content", tmp_path / "ingest")
    tar = Tar().file("zeros", bytes(64 << 20)).to_bytes()
    blob = compress(tar, "gzip")
    layer = Layer(0, 1, Descriptor(layer_type("gzip"), Digest.of(blob), len(blob)), Digest.of(tar), Digest.of(tar))

    def fetch() -> None:
        with (
            ahead(content, layer, scans=Scans(content)) as arrived,
            content.writer(layer_ref(layer.descriptor.digest), total=len(blob)) as writer,
        ):
            writer.write(blob)
            token.cancel("enough")
            arrived(len(blob))

    with watched(Token()) as token, pytest.raises(CancelledError, match="enough"):
        fetch()

    assert content.status(diff_ref(layer.diff_id)) is None
    status = content.status(layer_ref(layer.descriptor.digest))
    assert status is not None
    assert status.offset == len(blob)


def test_a_pull_that_is_cancelled_again_and_again_comes_to_its_end(tmp_path: Path, demo_layout: Path) -> None:
    node, cancelled = open_node(tmp_path / "store"), 0
    while node.images.list() == ():
        cancelled += 1
        with suppress(CancelledError), watched(CancelAt(cancelled)):
            pulled(node, f"oci:{demo_layout}:demo", NAME)

    assert cancelled > 10
    assert fsck_image(node, node.image(NAME)).damaged == ()
    node.recover()
    assert [path.name for path in (node.home / "ingest").iterdir()] == [".locks"]
    assert list((node.home / "trash").iterdir()) == []
    assert list((node.home / "snapshots").glob("*/.new/*")) == []


def test_a_prune_that_is_cancelled_leaves_the_rest_to_the_next(tmp_path: Path, demo_layout: Path) -> None:
    node = open_node(tmp_path / "store")
    pulled(node, f"oci:{demo_layout}:demo", NAME)
    untag(node.database, node.content, NAME)
    before = len(node.snapshots())

    with watched(CancelAt(3)), pytest.raises(CancelledError, match="enough"):
        prune(node)

    assert len(node.snapshots()) == before - 2
    prune(node)
    assert node.snapshots() == []
    assert list(node.content.walk()) == []
