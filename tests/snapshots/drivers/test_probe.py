"""Finding out which drivers work."""

import json
from pathlib import Path

import pytest

from config.drivers import DRIVER_CHOICES
from prestow.errors import InvalidError, UnsupportedError
from prestow.snapshots.drivers.all import kinds
from prestow.snapshots.drivers.probe import Support, choose, probe
from prestow.snapshots.mounts.mountinfo import mounts_below
from tests.snapshots.unprivileged import as_nobody, home_of_nobody


def test_root_has_every_driver_and_the_best_is_chosen(place: Path) -> None:
    assert probe(place) == (Support("erofs", works=True), Support("overlay", works=True), Support("native", works=True))
    assert choose(place) == "erofs"
    assert choose(place, "overlay") == "overlay"


def test_a_person_can_choose_every_driver() -> None:
    assert ("auto", *kinds()) == DRIVER_CHOICES


def test_nothing_is_left_but_the_record(place: Path) -> None:
    probe(place)

    assert [path.name for path in place.iterdir()] == ["probe.json"]
    assert mounts_below(place) in {(), tuple(point for point in mounts_below(place) if point.path == str(place))}


def test_what_was_found_out_is_remembered_until_the_next_boot(mounting: Path) -> None:
    probe(mounting)
    record = mounting / "probe.json"
    document = json.loads(record.read_bytes())
    document["drivers"][0] = {"driver": "erofs", "works": False, "reason": "remembered"}
    record.write_text(json.dumps(document))
    assert probe(mounting)[0] == Support("erofs", works=False, reason="remembered")
    assert choose(mounting) == "overlay"
    with pytest.raises(UnsupportedError, match="remembered"):
        choose(mounting, "erofs")

    assert probe(mounting, again=True)[0].works
    record.write_text(json.dumps(document | {"boot_id": "another"}))
    assert probe(mounting)[0].works


@pytest.mark.parametrize("record", [b"", b"[]", b"{", b'{"drivers": 1}', b'{"drivers": [{"x": 1}]}', b"\xff"])
def test_a_record_that_makes_no_sense_is_made_again(mounting: Path, record: bytes) -> None:
    (mounting / "probe.json").write_bytes(record)

    assert probe(mounting)[0].works


def test_an_unknown_driver_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="erofs, overlay, native"):
        choose(tmp_path, "zfs")


def test_an_ordinary_user_has_the_native_driver_and_is_told_why() -> None:
    def look(home: Path) -> None:
        erofs, overlay, native = probe(home)
        assert (erofs.works, overlay.works, native.works) == (False, False, True)
        assert "needs root" in erofs.reason
        assert "needs root" in overlay.reason
        assert choose(home) == "native"

    with home_of_nobody() as home:
        as_nobody(lambda: look(home))
