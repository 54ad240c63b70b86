"""Documents typed as a person does: their shell and Python blocks, in order, by an installed prestow, from ``/``.

The commands of a document are one bash script, so that an ``export`` counts for those after it. A block of kind
``console`` shows a prompt ``$ `` before each command and below it its standard output; figures may differ.
"""

import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from tests.wheels import NAMES, ROOT

_BLOCK = re.compile(r"^```(sh|console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_FIGURE = re.compile(
    r"sha256:[0-9a-f]+|[0-9.]+ (?:(?:[KMGT]i)?B|bytes|m?s)\b|\d{4}-\d\d-\d\d \d\d:\d\d\S*(?: UTC)?"
    r"|linux/\w+|127\.0\.0\.1:\d+|prestow:\S+$"
)
"""What differs from host to host: digests, sizes, durations, times, platforms, addresses, a login."""
_THEIRS = "import config, flows, tasks\nassert {config.OWNER, flows.OWNER, tasks.OWNER} == {'theirs'}\n"


@dataclass(frozen=True)
class Typed:
    """A command, or a program, and what the document shows that it prints; None where it shows nothing."""

    text: str
    printed: str | None = None
    python: bool = False


def typed(document: Path) -> Iterator[Typed]:
    """Yield what a document tells people to type."""
    for kind, block in _BLOCK.findall(document.read_text("utf-8")):
        if kind == "python":
            yield Typed(block, python=True)
        elif kind == "sh":
            yield from map(Typed, filter(None, block.splitlines()))
        else:
            for session in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, printed = session.partition("\n")
                yield Typed(command, printed)


def shown(text: str) -> list[str]:
    """Return the lines of an output without figures, and without the width that they give to columns."""
    return [re.sub(r" {2,}", "  ", _FIGURE.sub("N", line)).rstrip() for line in text.splitlines()]


@dataclass(frozen=True)
class Typist:
    """A person at an installed prestow.

    Attributes:
        env: variables, an installed prestow first on the path.
        program: a directory of Python programs, with packages ``config``, ``flows`` and ``tasks`` of its own.
        replaced: what stands in documents for something of this machine.
    """

    env: Mapping[str, str]
    program: Path
    replaced: dict[str, str]

    def types(self, commands: Sequence[Typed]) -> None:
        """Type everything; each must succeed, and print what the document shows.

        Raises:
            AssertionError: one did not.
        """
        lines = [f"{self._line(each)}\nprintf '\\0%d\\0' $?" for each in commands]
        script = "\n".join(["trap 'prestow warm stop > /dev/null' EXIT", *lines])
        done = subprocess.run(
            ["bash", "-c", script], cwd="/", env=self.env, check=False, text=True, capture_output=True,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        ended = done.stdout.split("\0")
        for command, printed, status in zip(commands, ended[0::2], ended[1::2], strict=False):
            assert status == "0", f"{command.text}: status {status}\n{printed}\n{done.stderr}"
            if command.printed is not None:
                assert shown(printed) == shown(self._here(command.printed)), f"{command.text}\n{printed}"
        assert len(ended) // 2 == len(commands), done.stdout + done.stderr

    def _line(self, command: Typed) -> str:
        if not command.python:
            return self._here(command.text)
        file = self.program / f"program{len(list(self.program.glob('*.py')))}.py"
        file.write_text(_THEIRS + self._here(command.text))
        return f"python -W error::RuntimeWarning {file}"

    def _here(self, text: str) -> str:
        for before, after in self.replaced.items():
            text = text.replace(before, after)
        return text


def strangers(folder: Path) -> Path:
    """Make a directory of programs whose packages are called like ours, and return it."""
    for name in NAMES:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text("OWNER = 'theirs'\n")
    return folder


def documents() -> list[Path]:
    """Return the documents for users that tell to type something."""
    found = chain(
        [ROOT / "README.md"], *(sorted((ROOT / "docs" / kind).glob("*.md")) for kind in ("tutorial", "how-to"))
    )
    return [document for document in found if next(typed(document), None)]
