"""Who uses a folder through a mount, by the kernel's own table: it outlives crashes, and no row can contradict it."""

from collections.abc import Sequence
from pathlib import Path

from prestow.snapshots.mounts.mountinfo import MountPoint, mount_points


def users_of(folders: Sequence[Path]) -> list[MountPoint]:
    """Find the mounts that show, or write to, one of some folders or what is below it.

    Overlays that have it as a layer, bind mounts of it, and mounts below it; a file system that is mounted at the
    folder itself is the folder, not a user of it.

    Args:
        folders: resolved paths.
    """
    points = mount_points()
    homes = [(str(folder), _home(points, str(folder))) for folder in folders]
    return [point for folder, home in homes for point in points if _uses(point, folder, home)]


def shown_read_only(lowers: Sequence[Path]) -> list[MountPoint]:
    """Find the mounts that show exactly these directories, stacked, without a writable one on top."""
    points = mount_points()
    if len(lowers) == 1:
        folder = str(lowers[0])
        home = _home(points, folder)
        return [point for point in points if point is not home and _bound(point, folder, home) and point.path != folder]
    return [
        point
        for point in points
        if point.type == "overlay" and point.upper is None and len(point.lowers) == len(lowers)
        and all(_names(text, str(lower)) for text, lower in zip(point.lowers, lowers, strict=True))
    ]  # fmt: skip


def _home(points: Sequence[MountPoint], folder: str) -> MountPoint | None:
    """Return the mount in which a folder is seen; the table's order is that of mounting."""
    around = [point for point in points if _within(folder, point.path)]
    return max(enumerate(around), key=lambda item: (len(item[1].path), item[0]))[1] if around else None


def _uses(point: MountPoint, folder: str, home: MountPoint | None) -> bool:
    if point is home or point.path == folder:
        return False
    if point.type == "overlay":
        layers = [*point.lowers, *([point.upper] if point.upper else [])]
        if any(_names(layer, folder) or _within(layer, folder) for layer in layers):
            return True
    return _within(point.path, folder) or _bound(point, folder, home)


def _bound(point: MountPoint, folder: str, home: MountPoint | None) -> bool:
    """Whether a mount shows what is at or below the folder, seen from its file system."""
    if home is None or point.device != home.device:
        return False
    inside = folder.removeprefix(home.path).strip("/")
    return _within(point.root, f"{home.root.rstrip('/')}/{inside}".rstrip("/") or "/")


def _names(layer: str, folder: str) -> bool:
    # An overlay of many layers was mounted with relative paths, which the table repeats.
    return layer == folder or (not layer.startswith("/") and folder.endswith(f"/{layer}"))


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
