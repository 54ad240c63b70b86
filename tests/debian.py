"""What dpkg knows: which package a file is from, and what comes with a package."""

import re
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_FIELDS = "${Package}\t${Essential}\t${Priority}\t${Pre-Depends}, ${Depends}\t${Provides}\n"
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_MERGED = ("bin", "sbin", "lib", "lib64")  # in the root these are links into /usr; dpkg may know a file by either name


def owners(files: Iterable[Path]) -> dict[Path, str]:
    """Return which package each file is from; those of none are missing."""
    names = {file: list(_names(file)) for file in files}
    command = ["dpkg-query", "-S", *sorted({name for some in names.values() for name in some})]
    listed = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    known = {}
    for line in listed.splitlines():
        packages, _, name = line.rpartition(": ")
        if not packages.startswith("diversion by"):
            known[name] = packages.split(",")[0].partition(":")[0]
    return {file: known[name] for file, some in names.items() for name in some if name in known}


def _names(file: Path) -> Iterator[str]:
    for path in {file, file.resolve()}:  # an alternative is a link of no package
        yield str(path)
        first, *rest = path.parts[1:]
        if first == "usr" and rest[0] in _MERGED:
            yield "/" + "/".join(rest)
        elif first in _MERGED:
            yield f"/usr{path}"


def needed(packages: Sequence[str]) -> set[str]:
    """Return these packages, those of any Debian, and all installed ones that they depend on."""
    listed = subprocess.run(["dpkg-query", "-W", "-f", _FIELDS], capture_output=True, text=True, check=True).stdout
    depends: dict[str, list[str]] = {}
    providers: dict[str, list[str]] = {}
    wanted = list(packages)
    for line in listed.splitlines():
        name, essential, priority, relations, provides = line.split("\t")
        depends[name] = _NAME.findall(re.sub(r"\([^)]*\)|:any", "", relations))
        for virtual in (name, *_NAME.findall(re.sub(r"\([^)]*\)", "", provides))):
            providers.setdefault(virtual, []).append(name)
        if essential == "yes" or priority == "required":
            wanted.append(name)
    found = set()
    while wanted:
        for name in providers.get(wanted.pop(), ()):
            if name not in found:
                found.add(name)
                wanted.extend(depends[name])
    return found
