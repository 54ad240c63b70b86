"""The table of users: who becomes who, and who is refused."""

import os
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import InvalidError, NotFoundError, PrestowError
from prestow.runtime.rootfs import DirectoryRoot, Stat
from prestow.runtime.users import User, resolve_user

PASSWD = b"""\
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
app:x:1000:1001:App:/home/app:/bin/sh
app:x:0:0:second line of the name:/root:/bin/sh
short:x:7:8
bad:x:minus:1::/:
worse:x:5:99999999999::/:
far:x:2147483648:1::/:
4294967296:x:0:0::/:
robot$:x:55:55::relative:/bin/sh
+::::::
"""
GROUP = b"""\
root:x:0:
adm:x:4:root,app
staff:x:50:daemon,app
app:x:1001:
apps:x:60:application,myapp,app2
broken:x:oops:nobody
spaces:x:70: app ,x
twice:x:50:app
"""


class Files:
    """A root that is a dictionary."""

    def __init__(self, **files: bytes) -> None:
        self._files = files

    def read(self, path: str, _limit: int) -> bytes | None:
        """Return an entry by its last name."""
        return self._files.get(path.rpartition("/")[2])

    def stat(self, _path: str) -> Stat | None:
        """Find nothing."""
        return None

    def is_empty(self, _path: str) -> bool:
        """Find nothing."""
        return True


IMAGE = Files(passwd=PASSWD, group=GROUP)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("", User(0, 0, (0, 4), "/root")),
        ("root", User(0, 0, (0, 4), "/root")),
        ("app", User(1000, 1001, (1001, 4, 50, 70), "/home/app")),
        ("daemon", User(1, 1, (1, 50), "/usr/sbin")),
        ("short", User(7, 8, (8,), "/")),
        ("robot$", User(55, 55, (55,), "/")),
        ("0", User(0, 0, (), "/root")),
        ("1000", User(1000, 1001, (), "/home/app")),
        ("01000", User(1000, 1001, (), "/home/app")),
        ("4242", User(4242, 0, (), "/")),
        ("2147483647", User(2147483647, 0, (), "/")),
        ("app:staff", User(1000, 50, (), "/home/app")),
        ("app:77", User(1000, 77, (), "/home/app")),
        ("1000:staff", User(1000, 50, (), "/home/app")),
        ("4242:4243", User(4242, 4243, (), "/")),
        ("0:0", User(0, 0, (), "/root")),
    ],
)
def test_a_user_is_found(field: str, expected: User) -> None:
    assert resolve_user(field, IMAGE) == expected


@pytest.mark.parametrize(
    "field",
    [
        *("4294967296", "2147483648", "-1", "+0", "0_0", " 0", "0 ", "\u0660", "0x0", "1e3", "99999999999999999999"),
        *("a:b:c", "root:../../", "root\n", ":", ":0", "guest:", "app:", "app:-1", "app:2147483648", "app:\u0660"),
        *("a b", "ro\0ot", "../etc", "app:\n"),
    ],
)
def test_a_field_outside_the_grammar_is_refused(field: str) -> None:
    with pytest.raises(InvalidError, match="user"):
        resolve_user(field, IMAGE)


@pytest.mark.parametrize(("field", "file"), [("nobody", "/etc/passwd"), ("app:nogroup", "/etc/group")])
def test_who_is_not_there_is_not_found_and_the_file_is_named(field: str, file: str) -> None:
    with pytest.raises(NotFoundError, match=file):
        resolve_user(field, IMAGE)


@pytest.mark.parametrize("field", ["bad", "worse", "far", "nobody:broken"])
def test_a_line_that_is_asked_for_and_malformed_is_refused(field: str) -> None:
    image = Files(passwd=PASSWD + b"nobody:x:9:9::/:\n", group=GROUP)

    with pytest.raises(InvalidError, match="expected"):
        resolve_user(field, image)


def test_an_image_without_files_has_numbers_and_root() -> None:
    assert resolve_user("", Files()) == User(0, 0, (0,), "/root")
    assert resolve_user("5:6", Files()) == User(5, 6, (), "/")
    with pytest.raises(NotFoundError):
        resolve_user("root", Files())


def test_a_user_of_the_host_is_not_found_through_a_link(tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "passwd").write_text("intruder:x:0:0::/:\n")
    (tmp_path / "root/etc").mkdir(parents=True)
    (tmp_path / "root/etc/passwd").symlink_to(host / "passwd")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/etc").symlink_to(host)

    for root in ("root", "other"):
        with pytest.raises(NotFoundError):
            resolve_user("intruder", DirectoryRoot(tmp_path / root))


def test_a_link_inside_the_image_is_followed(tmp_path: Path) -> None:
    (tmp_path / "usr/lib").mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "usr/lib/passwd").write_bytes(PASSWD)
    (tmp_path / "etc/passwd").symlink_to("/usr/lib/passwd")

    assert resolve_user("app:7", DirectoryRoot(tmp_path)).uid == 1000


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_a_file_that_would_block_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_bytes(PASSWD)
    (tmp_path / "etc" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / "etc" / name)

    for field in ("", "app"):
        with pytest.raises(InvalidError, match="not a regular file"):
            resolve_user(field, DirectoryRoot(tmp_path))


@pytest.mark.parametrize(
    "content",
    [
        b"\n" * (10 << 20),
        b"x" * (10 << 20),
        b":" * (10 << 20),
        b"a," * (5 << 20),
        b"g:x:1:" + b"a," * (5 << 20),
        b"g:x:1:" + b" " * (9 << 20),
        b"app" * (3 << 20),
        b"a:b:c:app\n" * (1 << 20),
    ],
    ids=["newlines", "a line", "colons", "commas", "members", "spaces", "names", "memberships"],
)
def test_the_worst_files_cost_little_memory(content: bytes) -> None:
    image = Files(passwd=content + b"\n" + PASSWD, group=content)
    tracemalloc.start()

    for field in ("app", "4242", "root:staff"):
        with suppress(PrestowError):
            resolve_user(field, image)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(content)


def test_too_many_groups_are_refused() -> None:
    group = b"".join(b"g:x:%d:app\n" % number for number in range(2, 65540))

    with pytest.raises(InvalidError, match="65536"):
        resolve_user("app", Files(passwd=PASSWD, group=group))


@given(st.text() | st.from_regex(r"\A[-+ 0-9a-z:_\n\u0660]*\Z"), st.binary(), st.binary())
@settings(deadline=None, max_examples=100)
def test_any_field_gives_a_user_in_range_or_one_of_our_errors(field: str, passwd: bytes, group: bytes) -> None:
    try:
        user = resolve_user(field, Files(passwd=PASSWD + passwd, group=GROUP + group))
    except PrestowError:
        return
    assert all(0 <= number < 2**31 for number in (user.uid, user.gid, *user.additional_gids))
    assert user.home.startswith("/")


@given(st.text(alphabet="0123456789", min_size=1, max_size=30))
@settings(deadline=None, max_examples=100)
def test_a_number_is_itself_or_refused(digits: str) -> None:
    try:
        user = resolve_user(digits, Files(passwd=f"{digits}:x:0:0::/:\n".encode()))
    except InvalidError:
        assert int(digits) > 2**31 - 1
    else:
        assert user.uid == int(digits)
