"""All settings of a host: ``PRESTOW_*`` in the environment, then ``config.toml``, then the defaults written here.

The file is ``$PRESTOW_CONFIG``, else ``/etc/prestow/config.toml``. Every setting is read once, at the edge, and
handed on as a value; only the room ``prestow.store.node`` knows this module.
"""

import os
import tomllib
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from config.drivers import DriverChoice
from config.home import config_file, docker_config

_FAULTS = {"extra_forbidden": "there is no such setting"}


class SettingsError(Exception):
    """A setting has a value that it cannot have; the text names the setting and what is wrong."""


class Settings(BaseSettings):
    """What an operator may set."""

    model_config = SettingsConfigDict(env_prefix="PRESTOW_", frozen=True, extra="forbid")

    driver: DriverChoice = Field("auto", description="Snapshotter; auto probes the kernel")
    durability: Literal["full", "fast"] = Field(
        "full", description="full: committed means on disk; fast leaves syncfs out, a power cut may then lose snapshots"
    )
    runtime: str = Field("runc", description="OCI runtime: a name on PATH or an absolute path")
    parallel_images: int = Field(2, ge=1, le=32, description="Images that prepull handles at the same time")
    insecure_registries: tuple[str, ...] = Field(
        (), description="host[:port] of registries reached over plain HTTP; loopback always is"
    )
    trusted_hosts: tuple[str, ...] = Field(
        (),
        description="Hosts that may be given the credentials of any registry that names them as its token service, and "
        "may lie in our own network",
    )
    docker_config: Path = Field(default_factory=docker_config, description="Credentials, in docker's config.json form")
    deployed_secrets: tuple[str, ...] = Field(
        (),
        description="Sources on this host from which deployed runs may give secrets to containers; * stands for any "
        "characters: env:DB_*, file:/run/secrets/*",
    )
    keep_blobs: bool = Field(
        default=True,
        description="Whether layers stay in the content store as they came, for `serve` and other tools; else they go "
        "when they are unpacked",
    )
    warm_minutes: float = Field(
        15.0, gt=0, description="How long the warm process stays after its last command, so that the next one is quick"
    )
    check_space: bool = Field(
        default=True, description="Whether what will not fit on the disk is refused before anything of it is written"
    )
    min_free_bytes: int = Field(
        64 << 20, ge=0, description="Bytes of the disk that pulls and bundles are to leave free"
    )
    lease_hours: float = Field(
        24.0, gt=0, description="How long what a killed bundle or verify was using stays safe from prune"
    )
    ingest_days: float = Field(
        7.0, gt=0, description="How long what an unfinished pull has fetched is kept to be gone on with"
    )
    keep_generations: int = Field(0, ge=0, description="How many earlier targets of each name prune keeps")
    unused_days: float | None = Field(
        None, gt=0, description="Prune forgets the names that were neither pulled anew nor used for so long"
    )
    disk_above: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Percent of the disk in use above which prune forgets the names used longest ago",
    )
    disk_below: float | None = Field(
        None, gt=0, le=100, description="Percent of the disk in use at which it stops that; disk_above if not given"
    )
    log_lines_per_second: int = Field(
        500,
        ge=1,
        description="Lines a second of a container's output in the log of a worker's run, ten seconds' worth at once; "
        "of more, the last 200 stay and a line says how many are missing",
    )
    log_bytes: int = Field(16 << 20, ge=0, description="Bytes of a container's output in the log of a worker's run")
    server_idle_hours: float = Field(
        4.0,
        ge=0,
        description="After how long without any request the store's own Prefect server ends, to be started again when "
        "needed; 0: never",
    )
    deployed_homes: tuple[Path, ...] = Field(
        (), description="Directories of stores that deployed runs may name, beside the host's own; all below them too"
    )
    deployed_directories: tuple[Path, ...] = Field(
        (), description="Directories below which deployed runs may make bundles, beside the store's own bundles"
    )
    deployed_layouts: tuple[Path, ...] = Field(
        (), description="Directories below which deployed runs may read images with oci:PATH"
    )
    deployed_registries: tuple[str, ...] = Field(
        ("*",),
        description="Patterns of registries that deployed runs may pull from: registry.example, *.example:5000, "
        "docker.io/library/*",
    )
    max_layer_bytes: int = Field(64 << 30, gt=0, description="Bytes of one layer, decompressed")
    max_layer_ratio: int = Field(
        1032, gt=0, description="Decompressed bytes for each compressed one, beyond the first 64 MiB"
    )
    max_layer_entries: int = Field(2_000_000, gt=0, description="Entries of one layer")
    max_layer_depth: int = Field(256, gt=0, le=256, description="Folders inside folders in one layer")
    max_image_bytes: int = Field(256 << 30, gt=0, description="Bytes of all layers of one image, decompressed")
    max_layers: int = Field(500, gt=0, le=500, description="Layers of one image; the kernel mounts no more")

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
