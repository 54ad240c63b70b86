"""The checks of ``prestow doctor``, each on its own: one that fails says so and stops no other."""

import os
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from config.proxies import proxy_variables
from config.settings import Settings, SettingsError, load
from flows.cli.output import size
from flows.cli.registries import decisions
from flows.cli.runtimes import handing_over
from flows.cli.schedules import dead_scheduler, without_runs
from flows.local_server import ensure
from flows.local_server.proxies import on_loopback
from flows.local_server.record import environment
from prestow.containers.process import orphans
from prestow.errors import PrestowError, printable
from prestow.registry.hosts_file import DEFAULT
from prestow.registry.proxy import Proxy
from prestow.runtime.binary import find_runtime
from prestow.snapshots.drivers.all import kinds
from prestow.snapshots.drivers.probe import ELSEWHERE, probe
from prestow.snapshots.mounts.mountinfo import file_system, mounts_below
from prestow.space.estimate import free_space
from prestow.store.node import Node, open_node

_PATIENCE = 5.0
_PREFIX = "PRESTOW_"
_NO_SETTINGS = {
    "PRESTOW_HOME",
    "PRESTOW_NAMESPACE",
    "PRESTOW_CONFIG",
    "PRESTOW_COLD",
    "PRESTOW_PROGRESS",
    "PRESTOW_FLEET",
    "PRESTOW_PROJECT",
}  # variables that are none of the file's keys


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


Check = Callable[[], Iterator[Finding]]


def run_checks(home: str, registries: Sequence[str] = ()) -> list[Finding]:
    """Look at the store in ``home`` and at this host; of registries, at those that are named, or have a hosts file."""
    found = [*_tried("store", lambda: _store(home), needed=True)]
    if found[0].works:
        node = open_node(home)
        found += _tried("disk", lambda: _disk(node))
        found += _tried("snapshotters", lambda: _drivers(node))
        found += _tried("mounts", lambda: _mounts(node))
        found += _tried("containers", lambda: _containers(node))
        found += _tried("registries", lambda: _registries(node, registries))
        found += _tried("hand-over", lambda: _hand_over(node))
    found += _tried("settings", _settings, needed=True)
    found += _tried("proxies", _proxies)
    found += _tried("runtime", _runtime)
    found += _tried("root", _root)
    found += _tried("prefect", lambda: _prefect(home), needed=True)
    return found


def all_settings() -> list[dict[str, Any]]:
    """Return of every setting its name, variable, value, default and meaning; no values if one of them is wrong."""
    try:
        chosen: dict[str, Any] = load().model_dump(mode="json")
    except SettingsError:
        chosen = {}
    defaults = Settings.model_construct().model_dump(mode="json")
    return [
        {
            "name": name,
            "variable": _PREFIX + name.upper(),
            "value": chosen.get(name),
            "default": defaults[name],
            "meaning": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]


def _tried(name: str, check: Check, *, needed: bool = False) -> list[Finding]:
    try:
        return list(check())
    except (PrestowError, SettingsError, OSError) as error:
        return [Finding(name, works=False, found=str(error), needed=needed)]


def _store(home: str) -> Iterator[Finding]:
    node = open_node(home)
    names, containers = len(node.images.every()), len(node.containers.every())
    found = f"{home}: {names} image{'s' * (names != 1)}, {containers} container{'s' * (containers != 1)}"
    yield Finding("store", works=True, found=found, needed=True)


def _disk(node: Node) -> Iterator[Finding]:
    free, reserve = free_space(node.home), node.settings.min_free_bytes
    inodes = "" if free.inodes is None else f", {free.inodes} inodes"
    works = free.bytes > reserve and free.inodes != 0
    advice = "" if works else "no pull that fetches anything will begin: free some with `prestow prune`"
    yield Finding("disk", works, f"{size(free.bytes)} free{inodes}; a pull leaves {size(reserve)}", advice, needed=True)


def _settings() -> Iterator[Finding]:
    changed = load().model_dump(mode="json", exclude_defaults=True)
    known = _NO_SETTINGS | {_PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(_PREFIX) and name not in known)
    text = ", ".join(f"{name}={value}" for name, value in changed.items()) or "all defaults"
    advice = f"no settings, and not looked at: {printable(', '.join(unknown))}" if unknown else ""
    yield Finding("settings", works=True, found=text, advice=advice, needed=True)


def _proxies() -> Iterator[Finding]:
    """Show what registries are asked through; a variable that names no proxy is found here as an error."""
    https, http, exempt = proxy_variables()
    shown = [
        f"for {scheme}: {f'{Proxy.parse(named[1], named[0])} ({named[0]})' if named else 'none'}"
        for scheme, named in (("https", https), ("http", http))
    ]
    shown += [f"exempt: {printable(exempt)}"] if exempt else []
    yield Finding("proxies", works=True, found="; ".join(shown))


def _drivers(node: Node) -> Iterator[Finding]:
    (node.home / "snapshots").mkdir(mode=0o700, exist_ok=True)
    root = node.home / "snapshots"
    supported = probe(root, again=True)
    best = next((support.driver for support in supported if support.works), None)
    instead = f"{best} is used instead" if best else ELSEWHERE
    if best and kinds()[best].copies and os.geteuid() == 0:
        instead += f", which copies an image for each container: else {ELSEWHERE}"
    for support in supported:
        works = "works, and is the default" if support.driver == best else "works"
        found = works if support.works else f"{support.reason} (the store is on {file_system(root)})"
        yield Finding(
            f"snapshotter {support.driver}", support.works, found, "" if support.works else instead, needed=best is None
        )


def _mounts(node: Node) -> Iterator[Finding]:
    yield Finding("mounts", works=True, found=f"{len(mounts_below(node.home))} below the store")


def _containers(node: Node) -> Iterator[Finding]:
    every = node.containers.every()
    orphaned = orphans(node)
    names = ", ".join(f"{c.namespace}/{c.id}" for c in orphaned)
    found = f"orphaned, as their runs were killed: {names}" if orphaned else f"{len(every)}, none orphaned"
    yield Finding("containers", not orphaned, found, "; ".join(f"{c.namespace}/{c.id}: {c.what}" for c in orphaned))


def _registries(node: Node, registries: Sequence[str]) -> Iterator[Finding]:
    for decision in decisions(node.registry_options, registries):
        check = "other registries" if decision.domain == DEFAULT else f"registry {decision.domain}"
        yield Finding(check, decision.works, decision.found, decision.advice)
    for mirror in node.health.every():
        found = f"set aside for another {mirror.until - time.time():.0f} s: {mirror.why}"
        yield Finding(f"mirror {mirror.origin}", works=False, found=found)
    for rest in node.pacing.every():
        found = f"asked to be left alone for another {rest.until - time.time():.0f} s: {rest.why}"
        yield Finding(f"server {rest.server}", works=False, found=found, advice="pulls wait until then")


def _hand_over(node: Node) -> Iterator[Finding]:
    state = handing_over(node)
    yield Finding("hand-over", works=True, found=state.found, advice=state.advice)


def _runtime() -> Iterator[Finding]:
    try:
        runtime = find_runtime(load().runtime)
    except PrestowError as error:
        advice = "without it, `prestow run` does not work; pull and bundle do"
        yield Finding("runtime", works=False, found=str(error), advice=advice)
    else:
        shown = f"{runtime.binary} {runtime.version}".rstrip()
        yield Finding("runtime", works=True, found=shown, advice=runtime.warning)


def _root() -> Iterator[Finding]:
    if os.geteuid() == 0:
        yield Finding("root", works=True, found="containers can be mounted and run")
    else:
        advice = "mounting needs root: containers run on copies, in a user namespace; bundles are made with --copy"
        yield Finding("root", works=False, found=f"user {os.geteuid()}", advice=advice)


def _prefect(home: str) -> Iterator[Finding]:
    named, release = os.environ.get("PREFECT_API_URL"), version("prefect")
    if named:
        yield from _api(f"{release}, API {printable(named)}", named, credentials(os.environ))
        return
    server = ensure.status(Path(home))
    if server is None:
        yield Finding("prefect", works=True, found=f"{release}, local server, started when needed", needed=True)
    else:
        yield from _api(f"{release}, local server at {server.url}", server.url, credentials(environment(server)))


def _api(found: str, url: str, headers: Mapping[str, str]) -> Iterator[Finding]:
    """Ask an API how it is, and whether its schedules make runs."""
    import httpx

    base, trust = url.rstrip("/"), not on_loopback(url)
    try:
        httpx.get(f"{base}/health", timeout=_PATIENCE, trust_env=trust).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        advice = "start it, or correct PREFECT_API_URL; without that variable, a local server is used"
        yield Finding("prefect", works=False, found=f"{found}: {printable(str(error))}", advice=advice, needed=True)
        return
    yield Finding("prefect", works=True, found=found, needed=True)

    def ask(path: str, body: Mapping[str, Any]) -> tuple[list[dict[str, Any]], datetime]:
        answer = httpx.post(f"{base}{path}", json=body, headers=headers, timeout=_PATIENCE, trust_env=trust)
        return answer.raise_for_status().json(), parsedate_to_datetime(answer.headers["date"])

    try:
        neglected = without_runs(ask)
    except (httpx.HTTPError, LookupError, ValueError, TypeError) as error:
        advice = "set PREFECT_API_AUTH_STRING, or PREFECT_API_KEY, to what the API wants"
        yield Finding("schedules", works=False, found=f"cannot be read: {printable(str(error))}", advice=advice)
        return
    if neglected:
        advice = (
            "read the server's log; SQLAlchemy 2.1 and Prefect 3.9.1 break it: where the server is installed, run "
            "`pip install 'sqlalchemy<2.1' 'prefect<3.9.1'` and restart it (the store's own: `prestow server stop`); "
            "check that PREFECT_SERVER_SERVICES_SCHEDULER_ENABLED is not false"
        )
        yield Finding("schedules", works=False, found=dead_scheduler(neglected), advice=advice)
    else:
        yield Finding("schedules", works=True, found="active ones have upcoming runs, or none is active")


def credentials(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the header that lets a client in, from Prefect's variables."""
    if key := variables.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if auth := variables.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {b64encode(auth.encode()).decode()}"}
    return {}
