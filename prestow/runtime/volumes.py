"""Mounts of a container: the defaults, the image's volumes, the operator's (image-spec, conversion.md, note 2).

A volume of an image becomes an empty tmpfs with the owner and the mode of the directory that it covers, so that a
program which gave up root can write there. Where the image has put data it stays part of the container's own writable
snapshot: covering it would hide the data, and copying it up would put it into memory.

A destination is looked at with the image's links resolved. Volumes that would cover what the runtime mounts, or the
root itself, are left out, and the caller is told.
"""

import posixpath
import stat
from collections.abc import Iterable, Iterator

from prestow.errors import InvalidError, printable
from prestow.runtime import defaults
from prestow.runtime.overrides import Overrides
from prestow.runtime.rootfs import RootFs, resolve
from prestow.runtime.spec import Mount

_MAX_VOLUMES = 256
_RESERVED = ("/proc", "/sys", "/dev")
_VOLUME_MODE = 0o755
_RESOLVER_FILES = ("/etc/hosts", "/etc/resolv.conf")


def mounts(volumes: Iterable[str], overrides: Overrides, rootfs: RootFs, warnings: list[str]) -> list[Mount]:
    """Return all mounts in the order in which they are made; a parent before what lies in it.

    Raises:
        InvalidError: an operator's mount whose destination is not an absolute path, or an absurd number of volumes.
    """
    own = [_placed(mount) for mount in overrides.mounts]
    if overrides.network == "host":
        own = [*_resolver(rootfs, warnings), *own]
    images = list(_volumes(volumes, rootfs, warnings)) if overrides.volumes == "tmpfs" else []
    by_destination = {mount.destination: mount for mount in [*defaults.MOUNTS, *images, *own]}
    return sorted(by_destination.values(), key=lambda mount: mount.destination.count("/"))


def refuse_unusual_mount_points(rootfs: RootFs) -> None:
    """Check that the runtime will find directories, or nothing, where it mounts.

    Raises:
        InvalidError: one is a link or a file; runtimes have followed such links out of the container (CVE-2026-41579).
    """
    for path in _RESERVED:
        found = rootfs.stat(path)
        if found is not None and not found.is_directory:
            leads = f" to {printable(found.target)!r}" if found.target else ""
            kind = "a symbolic link" if stat.S_ISLNK(found.mode) else "a file"
            raise InvalidError(f"image: {path} is {kind}{leads}, where the runtime needs a directory; not a safe image")


def _placed(mount: Mount) -> Mount:
    if not mount.destination.startswith("/") or "\0" in mount.destination + mount.source:
        raise InvalidError(f"mount at {printable(mount.destination)!r}: expected an absolute path in the container")
    destination = posixpath.normpath("/" + mount.destination.lstrip("/"))
    if destination == "/":
        raise InvalidError("mount at '/': that is the image's own root; name a path below it")
    return Mount(destination, mount.type, mount.source, mount.options)


def _volumes(volumes: Iterable[str], rootfs: RootFs, warnings: list[str]) -> Iterator[Mount]:
    paths = sorted(volumes)
    if len(paths) > _MAX_VOLUMES:
        raise InvalidError(f"image config: {len(paths)} Volumes; at most {_MAX_VOLUMES} are mounted")
    for path in paths:
        objection = _objection(path, rootfs)
        if objection:
            warnings.append(f"volume {printable(path)!r} was left out: {objection}")
        else:
            yield _tmpfs(posixpath.normpath(path), rootfs)


def _objection(path: str, rootfs: RootFs) -> str:
    """Say why an image's volume is not mounted; empty where it is."""
    if not path.startswith("/") or "\0" in path or ".." in path.split("/"):
        return "not an absolute path without '..'"
    target = resolve(rootfs, path)
    if target == "/" or any(target == reserved or target.startswith(reserved + "/") for reserved in _RESERVED):
        return f"it leads to {printable(target)!r}, which is not the image's to mount"
    found = rootfs.stat(target)
    if found is None:
        return ""
    if not found.is_directory:
        return "it is not a directory in the image"
    return "" if rootfs.is_empty(target) else "the image has data there, which stays in the container's own snapshot"


def _tmpfs(path: str, rootfs: RootFs) -> Mount:
    found = rootfs.stat(resolve(rootfs, path))
    mode, uid, gid = (stat.S_IMODE(found.mode), found.uid, found.gid) if found else (_VOLUME_MODE, 0, 0)
    owner = (f"mode={mode:04o}", f"uid={uid}", f"gid={gid}")
    return Mount("/" + path.lstrip("/"), "tmpfs", "tmpfs", ("nosuid", "nodev", *owner))


def _resolver(rootfs: RootFs, warnings: list[str]) -> Iterator[Mount]:
    """Yield the host's resolver files to a container in the host's network, read-only."""
    for path in _RESOLVER_FILES:
        found = rootfs.stat(path)
        if found is not None and not stat.S_ISREG(found.mode):
            warnings.append(f"the host's {path} was left out: the image has a link or a directory there")
        else:
            yield Mount(path, "bind", path, ("rbind", "ro", "nosuid", "nodev", "noexec"))
