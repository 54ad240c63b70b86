"""The fleet file: hosts, image sets, and how each set gets onto its hosts.

    hosts:
      - {name: gpu-01, labels: {role: gpu}}
    sets:
      nightly:
        images: [docker.io/library/redis:7.2, registry.example/serve:1.8.*]
        hosts: {labels: {role: gpu}}
        schedule: {cron: "30 2 * * *", zone: Europe/Berlin, window: 3h}
        rollout: {seed: 1, waves: [10%, 100%]}

Hosts are written here, or come from a file, a command, or the workers of the pool (``inventory``). In a tag, ``*``
stands for the parts of a version that may move (``versions``).
"""

import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from cronsim import CronSim, CronSimError
from pydantic import Discriminator, Field, PlainValidator, Tag, ValidationInfo, WithJsonSchema, field_validator

from prestow.fleet.document import Document, Matches
from prestow.fleet.names import HostName, ImageReference, Label, Pattern, PlatformName, SetName, key_of
from prestow.fleet.quantities import Duration, Share, Size, parse_size

__all__ = [
    "Disk", "FleetFile", "HandOver", "Host", "HostName", "HostsCommand", "HostsEntry", "HostsFile", "HostsWorkers",
    "ImageReference", "ImageSet", "Label", "Limits", "Pattern", "PlatformName", "Retention", "Rollout", "Schedule",
    "Selector", "SetName", "check_names",
]  # fmt: skip

MOST_IMAGES = 200
"""Images of one set."""


class Limits(Document):
    """What one host may be asked to bear; it goes before what the rollout says.

    Attributes:
        parallel: images that it pulls at the same time.
        timeout: seconds that its run may take.
        free: bytes of its disk that stay free.
    """

    parallel: int | None = Field(None, ge=1, le=32)
    timeout: Duration | None = None
    free: Size | None = None


class Host(Document):
    """A machine of the fleet.

    Attributes:
        platform: which image of an index it gets; default: what it reports.
        store: directory of its store; default: its own default.
    """

    name: HostName
    labels: Mapping[Label, str] = Field(default_factory=dict)
    platform: PlatformName | None = None
    store: (
        Annotated[str, Field(max_length=1024), Matches("^/[^\0]*$", "an absolute path, such as /srv/prestow")] | None
    ) = None
    limits: Limits = Limits()

    @property
    def key(self) -> str:
        """The name as keys of artifacts may have it."""
        return key_of(self.name)


class HostsFile(Document):
    """More hosts: a YAML file with a list of them; its path counts from the directory of the fleet file."""

    file: str = Field(min_length=1, max_length=1024)


class HostsCommand(Document):
    """More hosts: a program that prints such a list; no shell reads its words."""

    command: tuple[str, ...] = Field(min_length=1)
    timeout: Duration = 30.0


class HostsWorkers(Document):
    """More hosts: those whose workers the work pool knows (``prestow node up``), with these labels."""

    workers: Literal[True]
    labels: Mapping[Label, str] = Field(default_factory=dict)
    platform: PlatformName | None = None


class Selector(Document):
    """Which hosts a set is for: those that have all labels and one of the names, and none of ``exclude``.

    Attributes:
        labels: a value, or a list of values of which the host has one.
        names: shell patterns; empty: any.
        exclude: shell patterns of names.
    """

    labels: Mapping[Label, str | tuple[str, ...]] = Field(default_factory=dict)
    names: tuple[Pattern, ...] = ()
    exclude: tuple[Pattern, ...] = ()


class Schedule(Document):
    """When the set is applied.

    Attributes:
        cron: five fields.
        zone: IANA name of the time zone.
        window: seconds after the scheduled time in which a run may begin; one that would begin later does nothing.
        jitter: seconds up to which the beginning is put off, so that not all sets begin at once.
        active: whether the schedule is switched on when it is made.
    """

    cron: str = Field(max_length=200)
    zone: str = "UTC"
    window: Duration = 3600.0
    jitter: Duration = 0.0
    active: bool = True

    @field_validator("zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in zoneinfo.available_timezones():
            raise ValueError("expected the IANA name of a time zone, such as Europe/Berlin")
        return value

    @field_validator("cron")
    @classmethod
    def _valid_cron(cls, value: str) -> str:
        try:
            CronSim(value, datetime.now(UTC))
        except CronSimError as error:
            raise ValueError('expected the five fields of cron, such as "30 2 * * *"') from error
        return value


class Rollout(Document):
    """How a set gets onto its hosts, wave after wave.

    Attributes:
        seed: hosts of the first wave, from whose pulls mirrors get warm; none: no such wave.
        waves: how many hosts have been asked after each wave, of all; the last one is all hosts in any case.
        max_failed: failed hosts above which no further wave begins.
        max_offline: offline and slow hosts above which no further wave begins.
        hold: between waves: ``none``, ``approve`` (a person decides), or a pause.
        timeout: seconds that a host's run may take before the host counts as slow.
        retries: how often a failed host is asked again.
        parallel: images that a host pulls at the same time.
    """

    seed: Share | None = None
    waves: tuple[Share, ...] = (Share(100, percent=True),)
    max_failed: Share = Share(10, percent=True)
    max_offline: Share = Share(50, percent=True)
    hold: Literal["none", "approve"] | Duration = "none"
    timeout: Duration = 3600.0
    retries: int = Field(1, ge=0, le=10)
    parallel: int = Field(2, ge=1, le=32)


def _free(value: object) -> Share | int:
    """Read what must stay free."""
    if isinstance(value, Share):
        return value
    try:
        return Share.parse(value) if isinstance(value, str) and value.endswith("%") else parse_size(value)
    except ValueError as error:
        raise ValueError("expected a part of the disk, such as 10%, or a size, such as 10GiB") from error


_FREE = WithJsonSchema({"type": ["string", "integer"], "examples": ["10%", "10GiB"]})


class Disk(Document):
    """What must be left of a host's disk.

    Attributes:
        free: bytes, or a part of the disk, that stay free.
        factor: bytes on disk for each compressed byte of a layer, before it was unpacked anywhere.
    """

    free: Annotated[Share | int, PlainValidator(_free), _FREE] = Share(10, percent=True)
    factor: float = Field(2.5, ge=1, le=20)


class Retention(Document):
    """How long images of earlier generations stay on hosts.

    Attributes:
        generations: of the set, the present one included.
        unused_for: seconds without use after which an image of an earlier generation goes although it is among these.
        pin: whether no other cleaning of the host removes the images of the present generation.
    """

    generations: int = Field(2, ge=1, le=100)
    unused_for: Duration | None = None
    pin: bool = True


class HandOver(Document):
    """Whether the hosts' container runtimes get the images, and have to use them.

    Attributes:
        runtime: of the hosts; ``auto``: the one that is there; ``none``: the images are only in the store.
        pin: whether the runtime's own garbage collection leaves them.
    """

    runtime: Literal["none", "auto", "containerd", "docker", "podman"] = "none"
    pin: bool = False

    @field_validator("pin")
    @classmethod
    def _of_a_runtime(cls, value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's hook
        if value and info.data.get("runtime") == "none":
            raise ValueError("expected a runtime that pins the images, such as runtime: auto")
        return value

    @property
    def is_wanted(self) -> bool:
        """Whether an image counts as present only where the runtime uses it."""
        return self.runtime != "none"


class ImageSet(Document):
    """Images that belong together on the same hosts.

    Attributes:
        images: references with a tag, a digest, or a tag such as ``1.8.*``.
        registries: shell patterns of registries, ``ghcr.io``, and repositories, ``docker.io/library/*``, that the
            images may come from; empty: any.
    """

    images: tuple[ImageReference, ...] = Field(min_length=1, max_length=MOST_IMAGES)
    hosts: Selector = Selector()
    schedule: Schedule | None = None
    rollout: Rollout = Rollout()
    disk: Disk = Disk()
    retention: Retention = Retention()
    hand_over: HandOver = HandOver()
    registries: tuple[Pattern, ...] = ()

    @field_validator("images")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        names = [text.partition("@")[0] for text in value]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"expected each image once: {', '.join(sorted(twice))}")
        return value


def _kind(entry: Any) -> str:
    """Return what an entry of ``hosts`` is, by the key that only such an entry has."""
    if isinstance(entry, Document):
        return type(entry).__name__
    kinds = {"file": "HostsFile", "command": "HostsCommand", "workers": "HostsWorkers"}
    return next((kind for key, kind in kinds.items() if isinstance(entry, Mapping) and key in entry), "Host")


HostsEntry = Annotated[
    Annotated[Host, Tag("Host")]
    | Annotated[HostsFile, Tag("HostsFile")]
    | Annotated[HostsCommand, Tag("HostsCommand")]
    | Annotated[HostsWorkers, Tag("HostsWorkers")],
    Discriminator(_kind),
]


class FleetFile(Document):
    """The whole file; the default name is ``fleet.yaml``."""

    hosts: tuple[HostsEntry, ...] = Field(min_length=1)
    sets: Mapping[SetName, ImageSet] = Field(min_length=1)

    @field_validator("hosts")
    @classmethod
    def _one_host_a_name(cls, value: tuple[HostsEntry, ...]) -> tuple[HostsEntry, ...]:
        check_names([host for host in value if isinstance(host, Host)])
        return value


def check_names(hosts: list[Host]) -> None:
    """Check that no two hosts share a name, or what Prefect makes of it.

    Raises:
        ValueError: two do.
    """
    seen: dict[str, str] = {}
    for host in hosts:
        if (other := seen.get(host.key)) is not None:
            raise ValueError(
                f"two hosts are called {host.name}: rename one" if other == host.name
                else f"the hosts {other} and {host.name} differ in . and - only: rename one"
            )  # fmt: skip
        seen[host.key] = host.name
