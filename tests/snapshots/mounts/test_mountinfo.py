"""Parsing the kernel's table of mounts."""

import os
from pathlib import Path

from prestow.snapshots.mounts.mountinfo import _parse, mount_points, mounted_at, mounts_below

LINE = (
    rb"36 35 98:0 /a\040b /m\134n\011o rw,noatime shared:1 master:2 - overlay over\040lay "
    rb"rw,lowerdir=/x\134:y\054z:/w,upperdir=/u\134\134\134:p,workdir=/k"
)


def test_octal_escapes_are_decoded_after_splitting() -> None:
    (point,) = _parse(LINE)

    assert (point.path, point.root, point.device) == ("/m\\n\to", "/a b", "98:0")
    assert (point.type, point.source) == ("overlay", "over lay")
    assert point.lowers == ("/x:y,z", "/w")
    assert point.upper == "/u\\:p"


def test_lower_directories_that_were_given_one_by_one_are_as_they_are() -> None:
    (point,) = _parse(b"1 2 0:9 / /m rw - overlay none rw,lowerdir+=/a\\134:b,lowerdir+=/c\\054")

    assert point.lowers == ("/a\\:b", "/c,")
    assert point.upper is None


def test_names_need_not_be_utf_8() -> None:
    (point,) = _parse(b"1 2 0:9 / /\xff\xfe rw - tmpfs none rw")

    assert os.fsencode(point.path) == b"/\xff\xfe"


def test_this_process_sees_its_root() -> None:
    root = mounted_at(Path("/"))[-1]

    assert root in mount_points()
    assert {root, *mounted_at(Path("/proc"))} <= {*mounts_below(Path("/"))}  # others mount and unmount meanwhile


def test_a_path_is_below_itself_and_not_below_its_prefix(tmp_path: Path) -> None:
    assert mounts_below(Path("/pro")) == ()
    assert mounted_at(tmp_path / "no such folder") == ()
