"""Completion as a person meets it: Tab in a real bash and zsh, in a terminal; in fish, what its own `complete` says."""

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.candidates import answer
from flows.cli.verbs import VERBS
from prestow.digest import Digest
from prestow.metadata.containers import ContainerRecord
from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from prestow.store.node import open_node
from tests.flows.cli.conftest import Called, Prestow
from tests.processes import Child

IMAGES = (
    "docker.io/library/alpine:3.20",
    "docker.io/library/alpine:3.9",
    "ghcr.io/team/app:1",
    "localhost/demo:latest",
)
ALL = b"\x1b*"
"""Meta-star: bash writes all candidates into the line."""

SHELLS = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        """PS1=; bind 'set bell-style none' 'set enable-bracketed-paste off' 2>/dev/null
        bind 'set enable-bracketed-paste off'; bind -x '"\\C-b": printf "<%s>" "$READLINE_LINE"'
        source <(prestow completion bash); echo rea''dy\n""",
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        """PS1=; unsetopt zle_bracketed_paste prompt_cr prompt_sp; autoload -U compinit; compinit -u -D
        show() { print -rn -- "<$BUFFER>" }; zle -N show; bindkey '^B' show
        source <(prestow completion zsh); echo rea''dy\n""",
    ),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with images and a container, which are no more than names."""
    home = tmp_path_factory.mktemp("completion") / "store"
    node = open_node(str(home))
    target = Descriptor(mediatypes.MANIFESTS[0], Digest.of(b"manifest"), 8)
    for name in IMAGES:
        node.images.put(name, target)
    record = ContainerRecord("default", "web-1", IMAGES[0], target.digest, "erofs", "web-1", "/nowhere", 1.0)
    node.containers.put(record)
    node.close()
    return home


@pytest.fixture
def environment(store: Path, tmp_path: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    found = {**Prestow(store, {}, tmp_path).environment, "PATH": path, "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "layout.tar").touch()
    (tmp_path / "work" / "depot").mkdir()
    (tmp_path / "work" / "fleet.yaml").write_text(FLEET)
    return found


class Terminal:
    """A shell at a terminal, in which a person types."""

    def __init__(self, shell: str, environment: dict[str, str], folder: Path) -> None:
        command, setting_up = SHELLS[shell]
        self._ours, theirs = pty.openpty()
        self._process = Child(command, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs,
                              start_new_session=True)  # fmt: skip
        os.close(theirs)
        self._write(setting_up.encode())
        self._read(b"ready\r\n")

    def _write(self, typed: bytes) -> None:
        os.write(self._ours, typed)

    def _read(self, until: bytes) -> bytes:
        found = b""
        while not re.search(until, found):
            found += os.read(self._ours, 4096)
        return found

    def completed(self, typed: str, *keys: bytes) -> str:
        """Return the line after a person typed this and pressed Tab, or other keys; it is then empty again."""
        self._write(typed.encode() + b"".join(keys or (b"\t",)) + b"\x02")
        (line,) = re.findall(rb"<([^<>]*)>", self._read(rb"<[^<>]*>"))
        self._write(b"\x15")
        return str(line, "utf-8")

    def close(self) -> None:
        """End the shell."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


@pytest.fixture(params=SHELLS)
def terminal(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Terminal]:
    found = Terminal(request.param, environment, tmp_path / "work")
    yield found
    found.close()


LINES = [
    ("prestow hand", "prestow hand-over "),
    ("prestow images insp", "prestow images inspect "),
    ("prestow pull --stop-after layer-f", "prestow pull --stop-after layer-fetched "),
    ("prestow pull --driver=ov", "prestow pull --driver=overlay "),
    ("prestow images inspect gh", "prestow images inspect ghcr.io/team/app:1 "),
    ("prestow images inspect ghcr.io/team/app:", "prestow images inspect ghcr.io/team/app:1 "),
    ("prestow run --rm alpine:3.2", "prestow run --rm alpine:3.20 "),
    ("prestow containers rm w", "prestow containers rm web-1 "),
    ("prestow fleet plan --file lay", "prestow fleet plan --file layout.tar "),
    ("prestow fleet plan --file=lay", "prestow fleet plan --file=layout.tar "),
    ("prestow export demo -o lay", "prestow export demo -o layout.tar "),
    ("prestow pull oci-archive:lay", "prestow pull oci-archive:layout.tar "),
    ("prestow pull oci:dep", "prestow pull oci:depot/"),
    ("prestow fleet plan ni", "prestow fleet plan nightly "),
    ("prestow fleet apply ni", "prestow fleet apply nightly "),
    ("prestow fleet apply lay", "prestow fleet apply layout.tar "),
    ("prestow fleet status --host gpu-0", "prestow fleet status --host gpu-01 "),
    ("prestow pull --platform linux/arm6", "prestow pull --platform linux/arm64 "),
    ("prestow in-use --runtime pod", "prestow in-use --runtime podman "),
    ("prestow login gh", "prestow login ghcr.io "),
    ("prestow images --namespace def", "prestow images --namespace default "),
]
FLEET = """
hosts: [{name: gpu-01}, {name: edge-02}, {workers: true}]
sets: {nightly: {images: ["docker.io/library/alpine:3.*"]}, weekly: {images: ["ghcr.io/team/app:1"]}}
"""


def test_tab_completes_the_line(terminal: Terminal) -> None:
    assert {typed: terminal.completed(typed) for typed, _ in LINES} == dict(LINES)


def test_bash_offers_names_with_colons_as_far_as_they_differ(environment: dict[str, str], tmp_path: Path) -> None:
    terminal = Terminal("bash", environment, tmp_path / "work")
    try:
        assert (
            terminal.completed("prestow images rm docker.io/library/al")
            == "prestow images rm docker.io/library/alpine:3."
        )
        assert terminal.completed("prestow explain ", ALL) == f"prestow explain {' '.join([*IMAGES, 'web-1'])} "
    finally:
        terminal.close()


def test_fish_shows_candidates_with_their_meaning(environment: dict[str, str], tmp_path: Path) -> None:
    asked = [*(typed for typed, _ in LINES), "prestow images rm docker.io/library/al"]
    script = "source (prestow completion fish | psub)\n"
    script += "\n".join(f"complete -C '{line}'; echo end" for line in asked)
    done = subprocess.run(
        ["fish", "--no-config", "-c", script], cwd=tmp_path / "work", env=environment, check=True, capture_output=True,
        text=True,
    )  # fmt: skip
    *found, rest = done.stdout.split("end\n")

    words = [[line.split("\t")[0] for line in each.splitlines()] for each in found]
    assert (rest, done.stderr) == ("", "")
    assert words[:-1] == [[line.split()[-1]] for _, line in LINES]
    assert set(words[-1]) == set(IMAGES[:2])
    assert "hand images of this store over" in found[0]


def words(*typed: str) -> list[str]:
    """The candidates for the last word."""
    *before, current = typed
    return [each.word for each in answer(before, current).candidates]


def test_what_the_parser_has_is_completed() -> None:
    assert words("") == list(VERBS)
    assert [words(alias) for alias in ("ps", "rmi", "verify")] == [["ps"], ["rmi"], ["verify"]]
    assert words("image") == ["images"]
    assert words("server", "st") == ["status", "start", "stop"]
    assert words("pull", "a", "--stop-after", "layer-") == ["layer-fetched", "layer-stored", "layer-applied"]
    assert words("bundle", "a", "b", "--pull", "") == ["missing", "always", "never"]
    assert "--home" in words("images", "--")
    assert "--dry-run" not in words("pull", "--dry-run", "--d")
    assert words("completion", "") == ["bash", "zsh", "fish"]


def test_names_of_the_fleet_file_that_is_meant_are_completed(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(FLEET)
    file = str(tmp_path / "other.yaml")

    assert words("fleet", "plan", "--file", file, "") == ["nightly", "weekly"]
    assert words("fleet", "lock", "--file", file, "--update", "g") == ["ghcr.io/team/app:1"]


@pytest.mark.parametrize("text", ["", "- a", "sets: [a]", "hosts: 7\nsets: {a: 7}", "{", "\x00", "a: " * 9999])
def test_a_fleet_file_that_is_wrong_has_no_names(tmp_path: Path, text: str) -> None:
    (tmp_path / "fleet.yaml").write_text(text)
    file = str(tmp_path / "fleet.yaml")

    assert words("fleet", "status", "--file", file, "--host", "") == []
    assert words("fleet", "lock", "--file", file, "--update", "") == []


def test_paths_are_completed_where_no_shell_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some" / "layout").mkdir(parents=True)
    (tmp_path / "some" / ".hidden").touch()
    monkeypatch.chdir(tmp_path)

    assert words("pull", "oci:") == ["oci:some/"]
    assert words("pull", "oci:some/") == ["oci:some/layout/"]
    assert words("pull", f"oci:{tmp_path}/some/.") == [f"oci:{tmp_path}/some/.hidden"]
    assert words("images", "--home=some/") == ["--home=some/layout/"]
    assert words("pull", "oci:nowhere/") == []


def test_what_is_no_business_of_ours_is_left_to_the_shell() -> None:
    assert answer(["run", "alpine", "cat"], "/etc/").kind == "files"
    assert answer(["images", "--home"], "").kind == "directories"
    assert answer(["export", "a", "-o"], "").kind == "files"
    assert answer(["bogus", "x"], "-") == ("words", [])


def test_nothing_follows_a_line_that_is_wrong_already(called: Called) -> None:
    assert called("completion", "zsh", "--typed", "prestow\n--bogus\n").out == "words\n"


@pytest.mark.parametrize("broken", ["missing", "other"])
def test_tab_makes_no_store_and_says_nothing(tmp_path: Path, broken: str, alone: Prestow) -> None:
    home = tmp_path / broken
    if broken == "other":
        home.mkdir()
        (home / "metadata.db").write_bytes(b"no database")

    done = alone("completion", "zsh", "--typed", f"prestow\nimages\nrm\n--home\n{home}\n")

    assert (done.status, done.out, done.err) == (0, "words\n", "")
    assert [path.name for path in tmp_path.rglob("*")] == (["other", "metadata.db"] if broken == "other" else [])
