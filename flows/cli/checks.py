"""The checks of ``prestow doctor``, each on its own: one that fails says so and stops no other."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from flows.cli.output import size
from flows.local_server import ensure
from prestow.errors import PrestowError
from prestow.node import open_node
from prestow.runtime.binary import find_runtime
from prestow.snapshots.mountinfo import mounts_below
from prestow.snapshots.probe import probe


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: what was looked at.
        works: whether it is usable.
        found: one line about it.
        advice: what to do, where something is to be done.
        needed: whether a pull cannot do without it.
    """

    check: str
    works: bool
    found: str
    advice: str = ""
    needed: bool = False


def examine(home: str) -> list[Finding]:
    """Run all checks on the store in ``home`` and on this host."""
    found: list[Finding] = []
    for name, check in _CHECKS.items():
        try:
            found.extend(check(home))
        except (PrestowError, OSError) as error:
            found.append(Finding(name, works=False, found=str(error), needed=name in ("store", "settings")))
    return found


def _store(home: str) -> Iterator[Finding]:
    node = open_node(home)
    free = shutil.disk_usage(home).free
    names = len(node.images.list())
    yield Finding("store", works=True, found=f"{home}: {names} images, {size(free)} free", needed=True)


def _settings(home: str) -> Iterator[Finding]:
    chosen = open_node(home).settings
    changed = chosen.model_dump(mode="json", exclude_defaults=True, exclude={"docker_config"})
    text = ", ".join(f"{name}={value}" for name, value in changed.items()) or "all defaults"
    yield Finding("settings", works=True, found=text, needed=True)


def _drivers(home: str) -> Iterator[Finding]:
    node = open_node(home)
    for support in probe(node.home / "snapshots", again=True):
        advice = "" if support.works else "prestow takes the next driver of this list that works"
        yield Finding(
            f"snapshotter {support.driver}", support.works, support.reason or "works on this kernel and disk", advice
        )


def _mounts(home: str) -> Iterator[Finding]:
    below = mounts_below(Path(home))
    yield Finding("mounts", works=True, found=f"{len(below)} below the store")


def _runtime(home: str) -> Iterator[Finding]:
    runtime = find_runtime(open_node(home).settings.runtime)
    shown = f"{runtime.binary} {runtime.version}"
    yield Finding("runtime", works=True, found=shown, advice=runtime.warning)


def _prefect(home: str) -> Iterator[Finding]:
    named = os.environ.get("PREFECT_API_URL")
    server = ensure.status(Path(home))
    local = f"local server at {server.url}" if server else "local server, started when needed"
    where = f"API {named}" if named else local
    yield Finding("prefect", works=True, found=f"{version('prefect')}, {where}")


_CHECKS: dict[str, Callable[[str], Iterator[Finding]]] = {
    "store": _store,
    "settings": _settings,
    "snapshotters": _drivers,
    "mounts": _mounts,
    "runtime": _runtime,
    "prefect": _prefect,
}
