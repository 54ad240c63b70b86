"""All settings of a host: ``PRESTOW_*`` in the environment, then ``config.toml``, then the defaults written here.

The file is ``$PRESTOW_CONFIG``, else ``/etc/prestow/config.toml``. Every setting is read once, at the edge, and
handed on as a value; only the room ``prestow.store.node`` knows this module.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from config.drivers import DriverChoice
from config.home import config_file
from config.runtimes import ADDRESS, NAMESPACE, RuntimeChoice

_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_ADDRESS = r"[0-9a-fA-F]*:[0-9a-fA-F.]*:[0-9a-fA-F:.]*"  # IPv6
_TRUSTED = re.compile(rf"(?:(?:{_HOST}|\[{_ADDRESS}\])(?::[0-9]{{1,5}})?=)?(?:{_HOST}|{_ADDRESS})", re.ASCII)
"""An entry of ``trusted_hosts``; a token service is known by its host alone."""
_FOREIGN = re.compile(rf"{_HOST}|{_ADDRESS}", re.ASCII)
"""An entry of ``foreign_layer_hosts``."""
HOST_NAME = r"^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$"
"""A host of the fleet, as its file has it."""
_FAULTS = {"extra_forbidden": "there is no such setting"}


class SettingsError(Exception):
    """A setting has a value that it cannot have; the text names the setting and what is wrong."""


class Settings(BaseSettings):
    """What an operator may set."""

    model_config = SettingsConfigDict(env_prefix="PRESTOW_", frozen=True, extra="forbid")

    driver: DriverChoice = Field("auto", description="Snapshotter; auto probes the kernel")
    durability: Literal["full", "fast"] = Field(
        "full",
        description="full: committed snapshots are on disk; fast: no syncfs, a power cut may lose snapshots",
    )
    runtime: str = Field("runc", description="OCI runtime: a name on PATH or an absolute path")
    hand_over: RuntimeChoice = Field(
        "none",
        description="Runtime of this host that gets pulled images: auto, containerd, docker, podman or none; "
        "`prestow hand-over` and the parameters of a run take precedence",
    )
    containerd_address: Path = Field(ADDRESS, description="Socket of the containerd that images are handed over to")
    containerd_namespace: str = Field(
        NAMESPACE,
        pattern=r"^[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*$",
        max_length=76,
        description="Namespace of containerd that images are handed over to: k8s.io for Kubernetes, moby for Docker, "
        "default for ctr and nerdctl",
    )
    runtime_snapshotter: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,76}$",
        description="Snapshotter that the containers of that namespace use; default: the one that CRI tells",
    )
    parallel_images: int = Field(2, ge=1, le=32, description="Images that prepull pulls at the same time")
    hosts_dirs: tuple[Path, ...] = Field(
        (Path("/etc/prestow/certs.d"), Path("/etc/containerd/certs.d"), Path("/etc/docker/certs.d")),
        description="Directories with mirrors, certificates and headers of registries, as containerd's hosts.toml and "
        "docker's files have them; the first directory that has a registry decides",
    )
    registry_connect_seconds: float = Field(
        30.0, gt=0, description="Longest wait for a connection to a registry (seconds)"
    )
    registry_document_seconds: float = Field(
        60.0, gt=0, description="Longest time that a registry may take for a manifest, config or token (seconds)"
    )
    registry_blob_seconds: float = Field(
        300.0,
        gt=0,
        description="Longest wait for the first byte of a blob (seconds); a cache may fetch it first",
    )
    registry_idle_seconds: float = Field(30.0, gt=0, description="Longest pause in an answer of a registry (seconds)")
    registry_least_rate: float = Field(
        1024.0, ge=0, description="Least rate at which a registry must send a blob, over 30 seconds (bytes per second)"
    )
    registry_connections: int = Field(
        8, ge=1, le=64, description="Requests to one registry or mirror at one time, of all pulls on this host"
    )
    registry_chunk_bytes: int = Field(
        16 << 20,
        ge=1 << 20,
        description="Size of the parts in which a blob of 64 MiB or more is fetched over several connections (bytes)",
    )
    registry_rate: int | None = Field(
        None,
        gt=0,
        description="Rate up to which blobs come from one registry or mirror, to all pulls on this host together "
        "(bytes per second); default: any",
    )
    insecure_registries: tuple[str, ...] = Field(
        (), description="host[:port] of registries to reach over plain HTTP; loopback addresses always are"
    )
    trusted_hosts: tuple[str, ...] = Field(
        (),
        description="Token-service hosts trusted with credentials, also at private addresses: of one registry as "
        "registry=host (gitlab.example=auth.example.org), of any registry as host",
    )
    foreign_layer_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that foreign layers are fetched from if a registry lacks them: by the image's URLs, over "
        "https, without credentials, at public addresses only",
    )
    docker_config: Path | None = Field(
        None,
        description="File with credentials, like docker's config.json or podman's auth.json, to use alone; "
        "default: the files of podman and docker",
    )
    deployed_secrets: tuple[str, ...] = Field(
        (),
        description="Sources on this host that deployed runs may pass to containers as secrets (env:DB_*, "
        "file:/run/secrets/*), and blocks whose registry credentials they may use (block:team-*); * matches anything",
    )
    keep_blobs: bool = Field(
        default=True,
        description="Keep compressed layer blobs after unpacking; `serve` and other tools need them",
    )
    warm_minutes: float = Field(
        15.0, gt=0, description="Minutes that the warm process waits for the next command before it ends"
    )
    check_space: bool = Field(
        default=True, description="Refuse a pull or bundle that will not fit on the disk before writing any of it"
    )
    min_free_bytes: int = Field(
        64 << 20, ge=0, description="Free space (bytes) that pulls and bundles leave on the disk"
    )
    lease_hours: float = Field(
        24.0, gt=0, description="Hours that data used by a killed bundle or fsck is protected from prune"
    )
    ingest_days: float = Field(
        7.0, gt=0, description="Days that partial downloads of an unfinished pull are kept so that it can resume"
    )
    keep_generations: int = Field(0, ge=0, description="Earlier targets (generations) of each name that prune keeps")
    unused_days: float | None = Field(
        None, gt=0, description="Days without a pull or use after which prune removes a name; default: never"
    )
    disk_above: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Disk usage (percent) above which prune removes the least recently used names; default: never",
    )
    disk_below: float | None = Field(
        None, gt=0, le=100, description="Disk usage (percent) at which prune stops removing names; default: disk_above"
    )
    log_lines_per_second: int = Field(
        500,
        ge=1,
        description="Lines of a container's output per second in the log of a worker's run, in bursts of ten "
        "seconds' worth at most; beyond that, the last 200 lines are kept and one line says how many are missing",
    )
    log_bytes: int = Field(16 << 20, ge=0, description="Bytes of a container's output in the log of a worker's run")
    node_name: str | None = Field(
        None,
        pattern=HOST_NAME,
        description="Name of this host in the fleet: small letters, digits, . and -; the host's queue and worker have "
        "it, too; default: the machine's host name",
    )
    report_minutes: float = Field(
        15.0, gt=0, le=1440, description="Minutes between two reports of a host to the Prefect API (`prestow node up`)"
    )
    server_idle_hours: float = Field(
        4.0,
        ge=0,
        description="Hours without a request after which the store's own Prefect server ends; the next flow starts it "
        "again; 0: never",
    )
    deployed_homes: tuple[Path, ...] = Field(
        (), description="Directories of further stores that deployed runs may use, with all below them"
    )
    deployed_directories: tuple[Path, ...] = Field(
        (), description="Directories below which deployed runs may create bundles, in addition to the store's own"
    )
    deployed_layouts: tuple[Path, ...] = Field(
        (),
        description="Directories below which deployed runs may read images with oci:PATH, oci-archive:FILE and "
        "docker-archive:FILE",
    )
    deployed_registries: tuple[str, ...] = Field(
        ("*",),
        description="Patterns of registries that deployed runs may pull from: registry.example, *.example:5000, "
        "docker.io/library/*",
    )
    deployed_fleets: tuple[Path, ...] = Field(
        (Path("/etc/prestow"),), description="Directories below which deployed runs of `fleet` may read fleet files"
    )
    max_layer_bytes: int = Field(64 << 30, gt=0, description="Maximum size of one layer, decompressed (bytes)")
    max_layer_ratio: int = Field(1032, gt=0, description="Maximum compression ratio of a layer beyond its first 64 MiB")
    max_layer_entries: int = Field(2_000_000, gt=0, description="Maximum number of entries in one layer")
    max_layer_depth: int = Field(256, gt=0, le=256, description="Maximum depth of nested directories in one layer")
    max_image_bytes: int = Field(
        256 << 30, gt=0, description="Maximum size of all layers of one image, decompressed (bytes)"
    )
    max_layers: int = Field(
        500, gt=0, le=500, description="Maximum number of layers in one image; the kernel mounts no more"
    )

    @field_validator("trusted_hosts")
    @classmethod
    def _check_trusted(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        """Return the entries in lower case, as URLs are compared; one that no URL can match is an error."""
        for entry in entries:
            if not _TRUSTED.fullmatch(entry):
                raise ValueError(f"{entry!r}: expected host or registry[:port]=host, without scheme, path and spaces")
        return tuple(entry.lower() for entry in entries)

    @field_validator("foreign_layer_hosts")
    @classmethod
    def _check_foreign(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        """Return the entries in lower case, as URLs are compared; one that no URL can match is an error."""
        for entry in entries:
            if not _FOREIGN.fullmatch(entry):
                raise ValueError(f"{entry!r}: expected host, without scheme, port, path and spaces")
        return tuple(entry.lower() for entry in entries)

    @classmethod
    def settings_customise_sources(  # noqa: D102 - pydantic's hook
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - named by pydantic
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - named by pydantic
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = config_file()
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=file)


def load() -> Settings:
    """Read the settings from environment and file.

    Raises:
        SettingsError: a value is not allowed, or the file names a setting that does not exist, or is not there.
    """
    file = config_file()
    try:
        if os.environ.get("PRESTOW_CONFIG") and not Path(file).is_file():
            raise SettingsError(f"settings file {file}: there is none; PRESTOW_CONFIG names it")
        return Settings()
    except ValidationError as error:
        found = ((".".join(map(str, e["loc"])), _FAULTS.get(e["type"], e["msg"])) for e in error.errors())
        faults = "; ".join(f"{name}: {fault}" for name, fault in found)
        raise SettingsError(f"settings: {faults}; see `prestow doctor` for the names and defaults") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"settings file {file}: {error}") from None
    except OSError as error:
        raise SettingsError(f"settings file {file}: {error.strerror}") from None
    except ValueError as error:  # pydantic's, of a variable
        raise SettingsError(f"settings: {error}; in a variable, a list is written as JSON") from None
