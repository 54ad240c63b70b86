"""The last report of each host at the Prefect API.

    events      prestow.host.report, the newest of each host within the last hours, 50 a page
    artifacts   prestow-host-<key>: what changed last, however long ago

What stands there was written by hosts, or by anyone who can reach the API: a report that breaks its rules, or speaks
for another host, is skipped with a warning.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import ArtifactCollectionFilter, ArtifactCollectionFilterKey
from prefect.events.filters import EventFilter, EventNameFilter, EventOccurredFilter, EventResourceFilter
from pydantic import ValidationError

from flows.forms.host_page import read_page
from prestow.errors import InvalidError
from prestow.fleet.document import first_fault
from prestow.fleet.file import Host
from prestow.fleet.report import EVENT, Report, artifact_key

RECENT = timedelta(hours=1)
"""How old the newest event of a host is, as a rule: two intervals and more."""

_LONG_AGO = timedelta(days=1)
_AHEAD = timedelta(days=1)  # of a host's clock
_EVENTS, _ARTIFACTS = 50, 200  # a page, at most
_RESOURCE = "prestow.host."


@dataclass(frozen=True, slots=True)
class Reports:
    """What hosts report.

    Attributes:
        of: the last report of each host that has one, by name.
        warnings: a sentence for each host whose report was skipped.
    """

    of: Mapping[str, Report]
    warnings: tuple[str, ...]


def read_reports(client: SyncPrefectClient, hosts: Sequence[Host], now: datetime) -> Reports:
    """Return the last report of each of these hosts: a request for 50 hosts, and one more for 200.

    A report that says something new is an artifact before its run ends, and an event a little later; one that says
    nothing new is an event only. So both are read, and the later one counts.

    Raises:
        httpx.HTTPError: the API does not answer, or refuses.
    """
    wanted = {host.name for host in hosts}
    found: dict[str, Report] = {}
    faults: dict[str, str] = {}
    silent = [host.name for host in hosts]
    for since, some in ((RECENT, None), (_LONG_AGO, _EVENTS)):
        asked, heard = silent[:some], set[str]()
        for name, payload in _newest(client, asked, now - since, now + _AHEAD) if asked else ():
            if name in wanted and name not in heard:
                heard.add(name)
                _take(name, payload, found, faults)
        silent = [name for name in silent if name not in heard]
    names = {artifact_key(host.name): host.name for host in hosts}
    for begin in range(0, len(names), _ARTIFACTS):
        for key, page in _artifacts(client, [*names][begin : begin + _ARTIFACTS]):
            _take(names[key], page, found, faults)
    warnings = (f"{name}: its report was skipped: {why}" for name, why in faults.items())
    return Reports(found, tuple(warnings))


def _take(name: str, content: object, found: dict[str, Report], faults: dict[str, str]) -> None:
    """Check what stands for the report of a host: a page, or the payload of an event."""
    try:
        report = read_page(content) if isinstance(content, str) else Report.model_validate(content)
    except InvalidError as error:
        faults[name] = str(error)
    except ValidationError as error:
        faults[name] = first_fault(error)
    else:
        if report.host != name:
            faults[name] = f"it speaks for {report.host}"
        elif name not in found or report.at > found[name].at:
            found[name] = report


def _newest(
    client: SyncPrefectClient, hosts: Sequence[str], since: datetime, until: datetime
) -> Iterator[tuple[str, object]]:
    """Yield name and payload of the newest event of each host; of all hosts there are, if these are many."""
    named = [f"{_RESOURCE}{name}" for name in hosts] if len(hosts) <= _EVENTS else None
    wanted = EventFilter(
        occurred=EventOccurredFilter(since=since, until=until),
        event=EventNameFilter(name=[EVENT]),
        resource=EventResourceFilter(id=named, id_prefix=None if named else [_RESOURCE], distinct=True),
    )
    page = client.read_events(wanted, limit=_EVENTS)
    while True:
        yield from ((event.resource.id.removeprefix(_RESOURCE), event.payload) for event in page.events)
        if page.next_page is None:
            return
        page = client.read_events_page(str(page.next_page))


def _artifacts(client: SyncPrefectClient, keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield key and page of the latest artifact under each key."""
    wanted = ArtifactCollectionFilter(key=ArtifactCollectionFilterKey(any_=list(keys)))
    for each in client.read_latest_artifacts(artifact_filter=wanted, limit=_ARTIFACTS):
        yield str(each.key), str(each.data)
