"""What the operator may change of a container, against its image and our defaults.

The image's word comes from far away and is checked; the operator's word is final, as long as it can be understood.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from prestow.runtime.spec import Mount


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits of a container (config-linux.md, "Control groups"); None leaves the host's.

    Attributes:
        memory: bytes.
        cpus: processors' worth of time, such as 1.5.
        pids: processes and threads.
        open_files: descriptors a process (RLIMIT_NOFILE, soft and hard).
    """

    memory: int | None = None
    cpus: float | None = None
    pids: int | None = None
    open_files: int | None = None


@dataclass(frozen=True, slots=True)
class Rootless:
    """Who runs a container without being root; user 0 of the container is that user, and there is no other.

    Attributes:
        uid: effective user of the caller.
        gid: effective group of the caller.
    """

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Overrides:
    """The operator's word; the default changes nothing.

    Attributes:
        args: replaces the image's Cmd.
        entrypoint: replaces the image's Entrypoint, and drops its Cmd, as with ``docker run --entrypoint``.
        env: ``NAME=value`` adds or replaces, a bare ``NAME`` takes away. It is in no repr, like ``args``.
        user: replaces the image's User; same grammar.
        cwd: replaces the image's WorkingDir.
        mounts: further mounts; one at the place of a default or a volume replaces it.
        volumes: the image's Volumes become empty tmpfs mounts, or stay part of the root file system.
        annotations: added last; reserved prefixes are allowed here.
        hostname: of the container; empty takes the host's.
        network: a namespace of its own with nothing but loopback, or the host's with its resolver files.
        tty: the process gets a terminal.
        read_only: the root file system cannot be written to.
        seccomp: our profile, or none.
        resources: limits.
        cgroup: path of the control group; empty lets the runtime choose.
        rootless: run without root, in a user namespace.
    """

    args: tuple[str, ...] = field(default=(), repr=False)
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = field(default=(), repr=False)
    user: str | None = None
    cwd: str | None = None
    mounts: tuple[Mount, ...] = ()
    volumes: Literal["tmpfs", "rootfs"] = "tmpfs"
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    hostname: str = ""
    network: Literal["none", "host"] = "none"
    tty: bool = False
    read_only: bool = False
    seccomp: Literal["default", "unconfined"] = "default"
    resources: Resources = Resources()
    cgroup: str = ""
    rootless: Rootless | None = None
