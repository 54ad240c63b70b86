"""From an image config to a runtime spec (image-spec, conversion.md), a pure function of what it is given.

Image config, operator's overrides and the files of the unpacked image go in, a :class:`~prestow.runtime.spec.Spec`
comes out; what the image asked for and does not get is said in its ``warnings``. What could not run, or could not run
safely, is refused: a foreign platform, no command, an unknown user, links where the runtime mounts.
"""

import re
from typing import Any

from prestow.errors import InvalidError, UnsupportedError, printable
from prestow.oci.image_config import ImageConfig
from prestow.platforms import Platform, choose
from prestow.runtime import defaults
from prestow.runtime.annotations import annotations
from prestow.runtime.overrides import Overrides, Resources, Rootless
from prestow.runtime.process import arguments, environment, limits, working_directory
from prestow.runtime.rootfs import RootFs
from prestow.runtime.spec import OCI_VERSION, Spec
from prestow.runtime.users import User, resolve_user
from prestow.runtime.volumes import mounts, refuse_unusual_mount_points

_HOSTNAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PERIOD = 100_000  # microseconds
_LEAST_QUOTA = 1000
_MAX_OPEN_FILES = 1 << 20
_MAX_LIMIT = 2**63 - 1


def transform_config(config: ImageConfig, overrides: Overrides, rootfs: RootFs, *, host: Platform) -> Spec:
    """Return the spec of a container of an image.

    Pass the image's own platform as ``host`` to make a bundle for another machine, or where an emulator is set up.

    Raises:
        InvalidError: the config or an override breaks a rule; the message says which.
        NotFoundError: the image has no such user or group.
        UnsupportedError: the image is for another platform.
    """
    _check_platform(config.platform, host)
    refuse_unusual_mount_points(rootfs)
    warnings: list[str] = []
    user = wanted = resolve_user(config.process.user if overrides.user is None else overrides.user, rootfs)
    if overrides.rootless is not None:
        user = _only_root(wanted, overrides, warnings)
    document = {
        "ociVersion": OCI_VERSION,
        "process": _process(config, overrides, rootfs, user),
        "root": {"path": "rootfs", "readonly": overrides.read_only},
        "mounts": [mount.document() for mount in mounts(config.process.volumes, overrides, rootfs, warnings)],
        "annotations": annotations(config, overrides.annotations, warnings),
        "linux": _linux(config, overrides),
    }
    if overrides.hostname:
        document["hostname"] = _hostname(overrides.hostname)
    if overrides.rootless is not None:
        _give_up_root(document, overrides.rootless)
        if wanted.uid:
            _give_up_capabilities(document)
    return Spec.of(document, warnings)


def _check_platform(image: Platform, host: Platform) -> None:
    if image.os.lower() != "linux":
        raise UnsupportedError(f"image for {image}: only Linux containers are made here")
    if choose(host, [image]) is None:
        raise UnsupportedError(f"image for {image}: it does not run on {host}; pull the image for that platform")


def _process(config: ImageConfig, overrides: Overrides, rootfs: RootFs, user: User) -> dict[str, Any]:
    directory = config.process.working_dir if overrides.cwd is None else overrides.cwd
    open_files = _within("open files", overrides.resources.open_files, _MAX_OPEN_FILES)
    identity: dict[str, Any] = {"uid": user.uid, "gid": user.gid}
    if user.additional_gids:
        identity["additionalGids"] = list(user.additional_gids)
    return {
        **defaults.process(),
        "args": arguments(config.process, overrides),
        "env": environment(config.process, overrides, user.home),
        "cwd": working_directory(directory, rootfs),
        "user": identity,
        "terminal": overrides.tty,
        "rlimits": list(limits(open_files)),
    }


def _linux(config: ImageConfig, overrides: Overrides) -> dict[str, Any]:
    section = defaults.linux(config.platform.normalised().architecture)
    section["resources"].update(_resources(overrides.resources))
    if overrides.network == "host":
        section["namespaces"].remove({"type": "network"})
    if overrides.seccomp == "unconfined":
        del section["seccomp"]
    if overrides.cgroup:
        section["cgroupsPath"] = overrides.cgroup
    return section


def _resources(resources: Resources) -> dict[str, Any]:
    """Return the limits that are control groups."""
    groups: dict[str, Any] = {}
    memory, pids = _within("memory", resources.memory, _MAX_LIMIT), _within("pids", resources.pids, _MAX_LIMIT)
    if memory is not None:
        groups["memory"] = {"limit": memory}
    if pids is not None:
        groups["pids"] = {"limit": pids}
    if resources.cpus is not None:
        if not _LEAST_QUOTA / _PERIOD <= resources.cpus <= _MAX_OPEN_FILES:
            raise InvalidError(f"resources: cpus {resources.cpus}: expected a number such as 0.5 or 2, at least 0.01")
        groups["cpu"] = {"quota": round(resources.cpus * _PERIOD), "period": _PERIOD}
    return groups


def _within(what: str, value: int | None, most: int) -> int | None:
    if value is not None and not 1 <= value <= most:
        raise InvalidError(f"resources: {what} {value}: expected a number from 1 to {most}")
    return value


def _hostname(name: str) -> str:
    if not _HOSTNAME.fullmatch(name):
        raise InvalidError(f"hostname {printable(name)!r}: expected at most 64 letters, digits and . - _")
    return name


def _only_root(user: User, overrides: Overrides, warnings: list[str]) -> User:
    """Return the one user of a rootless container; what that means for the image's choice is said.

    Raises:
        UnsupportedError: the operator wants another one.
    """
    if (user.uid, user.gid) != (0, 0):
        asked = f"user {user.uid}:{user.gid}"
        if overrides.user is not None:
            raise UnsupportedError(
                f"{asked}: a rootless container has user 0 and group 0 only; run as root, or as user 0:0"
            )
        warnings.append(
            f"{asked} of the image does not exist in a rootless container: its process is you, as user 0:0, "
            "without capabilities"
        )
    elif set(user.additional_gids) - {0}:
        warnings.append("the user's additional groups were left out: a rootless container has group 0 only")
    return User(0, 0, (), user.home)


def _give_up_capabilities(document: dict[str, Any]) -> None:
    """Change a spec in place so that its process has no more rights than another user's, though it is user 0."""
    process = document["process"]
    process["capabilities"] = {name: [] for name in process["capabilities"]}


def _give_up_root(document: dict[str, Any], caller: Rootless) -> None:
    """Change a spec in place so that a runtime can do it all without privileges (runc's rules for rootless)."""
    section = document["linux"]
    section["namespaces"].append({"type": "user"})
    section["uidMappings"] = [{"containerID": 0, "hostID": caller.uid, "size": 1}]
    section["gidMappings"] = [{"containerID": 0, "hostID": caller.gid, "size": 1}]
    own_network = {"type": "network"} in section["namespaces"]
    for mount in document["mounts"]:
        mount["options"] = [option for option in mount["options"] if not option.startswith(("uid=", "gid="))]
        if mount["type"] == "sysfs" and not own_network:
            # A sysfs shows a network namespace, and may be mounted by its owner only.
            mount.update(type="none", source="/sys", options=["rbind", *mount["options"]])
