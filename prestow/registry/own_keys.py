"""The table ``prestow`` of a server in a hosts file: the keys that are ours, and none of containerd's."""

import re
from dataclasses import dataclass

from prestow.errors import InvalidError, printable
from prestow.oci.document import Record
from prestow.registry.credentials import check_name
from prestow.registry.proxy import Proxy, ProxyChoice

_KNOWN = frozenset({"connections", "credentials", "proxy", "rate", "timeouts"})
_WAITS = {"connect", "document", "blob", "idle"}
_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:h|ms|m|s))+", re.ASCII)
_PART = re.compile(r"([0-9.]+)(h|ms|m|s)", re.ASCII)
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """The values of the table, of which ``prestow.registry.hosts_file.HostEntry`` says what they mean."""

    timeouts: dict[str, float]
    proxy: ProxyChoice
    connections: int | None
    rate: int | None
    credentials: str


def own_keys(record: Record) -> OwnKeys:
    """Return what the table of a server has.

    Raises:
        InvalidError: a key is unknown, or its value breaks a rule.
    """
    table = _table(record, "prestow", _KNOWN)
    return OwnKeys(
        timeouts=_timeouts(table),
        proxy=_proxy(table),
        connections=_positive(table, "connections"),
        rate=_positive(table, "rate"),
        credentials=_credentials(table),
    )


def seconds(record: Record, name: str) -> float:
    """Return the seconds of a duration as Go writes them: ``1m30s``, ``500ms``.

    Raises:
        InvalidError: it is none.
    """
    text = record.text(name)
    total = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    if not _DURATION.fullmatch(text) or total <= 0:
        raise InvalidError(f"{record.at(name)}: expected a duration such as 10s or 1m30s, found {printable(text)!r}")
    return total


def _table(record: Record, name: str, known: frozenset[str]) -> Record:
    table = Record.of(record.fields.get(name) or {}, record.at(name), known)
    if wrong := table.fields.keys() - known:
        raise InvalidError(f"{table.at(printable(min(wrong)))}: no such key; known are {', '.join(sorted(known))}")
    return table


def _timeouts(ours: Record) -> dict[str, float]:
    record = _table(ours, "timeouts", frozenset({*_WAITS, "least_rate"}))
    found: dict[str, float] = {name: seconds(record, name) for name in record.fields.keys() & _WAITS}
    return {**found, "rate": record.whole("least_rate")} if record.has("least_rate") else found


def _proxy(ours: Record) -> ProxyChoice:
    text = ours.text("proxy", "")
    if text == "none":
        return None
    return Proxy.parse(text, ours.at("proxy")) if text else "default"


def _positive(ours: Record, name: str) -> int | None:
    if not ours.has(name):
        return None
    value = ours.whole(name)
    if value < 1:
        raise InvalidError(f"{ours.at(name)}: expected a number above 0, found {value}")
    return value


def _credentials(ours: Record) -> str:
    name = ours.text("credentials", "")
    try:
        return name and check_name(name)
    except InvalidError as error:
        raise InvalidError(f"{ours.what}: {error}") from None
