"""Image configs: the platform, the layers' diff IDs, and how a process is started (image-spec, config.md).

Only types are checked here. Whether an environment or a user makes sense is known when a runtime spec is made
from it; ``history`` and the fields of builders are not read.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

from prestow.digest import Digest
from prestow.errors import InvalidError, printable
from prestow.oci.descriptor import parse_digest, parse_platform
from prestow.oci.document import Record, load
from prestow.platforms import Platform

_PLATFORM = frozenset({"os", "architecture", "variant", "os.version", "os.features"})
_CONFIG = _PLATFORM | {"created", "author", "config", "rootfs", "history"}
_ROOTFS = frozenset({"type", "diff_ids"})
_PROCESS = frozenset(
    {"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal"}
)


class ProcessConfig(NamedTuple):
    """How a container of the image is started, as its builder wished; every field may be empty."""

    user: str = ""
    env: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    working_dir: str = ""
    volumes: tuple[str, ...] = ()
    exposed_ports: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}
    stop_signal: str = ""


class ImageConfig(NamedTuple):
    """A checked image config; the raw bytes stay beside it, because they are what has the digest.

    Attributes:
        raw: the document as it came.
        platform: what the image was built for, in the builder's spelling.
        diff_ids: digests of the uncompressed layers, lowest first.
        created: when, in the builder's words; not checked.
        author: by whom, likewise.
        process: how a container is started.
    """

    raw: bytes
    platform: Platform
    diff_ids: tuple[Digest, ...]
    created: str = ""
    author: str = ""
    process: ProcessConfig = ProcessConfig()

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Read an image config.

        Raises:
            InvalidError: not an image config, or a field of the wrong type.
            UnsupportedError: a diff ID of an unsupported algorithm.
            ExhaustedError: too many bytes.
        """
        what = f"image config {Digest.of(raw).short}"
        record = Record.of(load(raw, what), what, _CONFIG)
        platform = {name: value for name, value in record.fields.items() if name in _PLATFORM}
        return cls(
            raw,
            parse_platform(platform, what),
            _diff_ids(record),
            record.text("created", ""),
            record.text("author", ""),
            _process(record),
        )

    @property
    def digest(self) -> Digest:
        """The sha256 digest of the document."""
        return Digest.of(self.raw)


def _diff_ids(record: Record) -> tuple[Digest, ...]:
    rootfs = Record.of(record.fields.get("rootfs"), record.at("rootfs"), _ROOTFS)
    kind = rootfs.text("type")
    if kind != "layers":
        raise InvalidError(f"{rootfs.at('type')}: expected 'layers', found {printable(kind)!r}")
    where = rootfs.at("diff_ids")
    return tuple(parse_digest(value, f"{where}[{n}]") for n, value in enumerate(rootfs.items("diff_ids")))


def _process(record: Record) -> ProcessConfig:
    value = record.fields.get("config")
    fields = Record.of({} if value is None else value, record.at("config"), _PROCESS)
    return ProcessConfig(
        user=fields.text("User", ""),
        env=fields.texts("Env"),
        entrypoint=fields.texts("Entrypoint"),
        cmd=fields.texts("Cmd"),
        working_dir=fields.text("WorkingDir", ""),
        volumes=fields.names("Volumes"),
        exposed_ports=fields.names("ExposedPorts"),
        labels=fields.text_map("Labels"),
        stop_signal=fields.text("StopSignal", ""),
    )
