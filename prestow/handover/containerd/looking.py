"""Ask containerd what it is: version, snapshotters, where it keeps things; and choose the form of a hand-over.

Nothing is read from its configuration, which may be of another instance, or changed since it started.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from prestow.errors import InvalidError, UnsupportedError, printable
from prestow.handover.containerd.client import Client
from prestow.handover.containerd.names import CRI_NAMESPACE
from prestow.handover.runtime import Form, Look

EROFS = "erofs"
"""containerd's snapshotter whose files ours can be."""

LINKING_SINCE = (2, 3, 4)
"""Earlier ones lose the layers above a merged metadata image (containerd#13876)."""

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)", re.ASCII)
_CONTENT, _SNAPSHOTTER = "io.containerd.content.v1", "io.containerd.snapshotter.v1"


@dataclass(frozen=True, slots=True)
class Plugins:
    """Where one containerd keeps things.

    Attributes:
        content: folder of its content store; None if it does not say.
        snapshotters: folder of each snapshotter that works there; None for one that does not say.
        rebasing: snapshotters whose layers can be applied at the same time.
    """

    content: Path | None
    snapshotters: dict[str, Path | None]
    rebasing: frozenset[str]


def plugins(client: Client) -> Plugins:
    """Ask where things are."""
    found = client.call("Introspection.Plugins", filters=[f"type=={_CONTENT}", f"type=={_SNAPSHOTTER}"]).plugins
    roots = {(each.type, each.id): Path(root) if (root := each.exports["root"]) else None for each in found}
    return Plugins(
        roots.get((_CONTENT, "content")),
        {id_: root for (type_, id_), root in roots.items() if type_ == _SNAPSHOTTER and root is not None},
        frozenset(each.id for each in found if each.type == _SNAPSHOTTER and "rebase" in each.capabilities),
    )


def snapshotter_of(client: Client, there: Plugins, chosen: str | None) -> str:
    """Return the snapshotter that containers use: the chosen one, which CRI must not contradict, or CRI's.

    Raises:
        InvalidError: the chosen one is not there, or Kubernetes' containers use another.
        UnsupportedError: none was chosen, and there is no CRI that could be asked.
    """
    known = ", ".join(sorted(there.snapshotters)) or "none"
    if chosen is not None and chosen not in there.snapshotters:
        raise InvalidError(f"runtime_snapshotter: containerd has no working snapshotter {chosen!r}; it has {known}")
    used = _used_by_cri(client, there) if client.namespace == CRI_NAMESPACE else None
    if chosen is not None and used not in (None, chosen):
        raise InvalidError(
            f"runtime_snapshotter: {chosen!r} was chosen, but the containers of {client.namespace} use {used!r}, "
            "which would unpack the image again; leave the setting out, or change containerd's"
        )
    found = chosen or used
    if found is None:
        raise UnsupportedError(
            f"containerd ({client.address}) does not tell which snapshotter the containers of namespace "
            f"{client.namespace} use; set runtime_snapshotter to one of: {known}; for Docker's images, "
            "choose the runtime docker"
        )
    return found


def _used_by_cri(client: Client, there: Plugins) -> str | None:
    """Return the snapshotter on whose folder CRI reports; None without CRI."""
    try:
        usages = client.call("Cri.ImageFsInfo").image_filesystems
    except UnsupportedError:
        return None
    places = {each.fs_id.mountpoint for each in usages}
    found = [name for name, root in there.snapshotters.items() if root is not None and str(root) in places]
    return found[0] if len(found) == 1 else None


def look(client: Client, there: Plugins, chosen: str | None) -> Look:
    """Describe a containerd; ``chosen``: the snapshotter that its containers use, if it was chosen.

    Raises:
        InvalidError: as :func:`snapshotter_of`.
        UnsupportedError: as there.
    """
    version = str(client.call("Version.Version").version)
    return Look("containerd", printable(version, 40), client.namespace, snapshotter_of(client, there, chosen))


def form_for(found: Look, there: Plugins, content: Path, *, linking: bool) -> tuple[Form, str]:
    """Choose the form in which a containerd takes images, and say why not the better one.

    Args:
        found: the containerd.
        there: what it has.
        content: folder of our blobs.
        linking: whether our own snapshotter makes files that containerd's can be.
    """
    why = _why_not_linked(found.version, found.snapshotter, there.snapshotters[found.snapshotter], content)
    if not why and not linking:
        why = "the store's own snapshotter on this host is not erofs"
    return (Form.APPLIED if why else Form.LINKED), why


def _why_not_linked(version: str, snapshotter: str, root: Path | None, content: Path) -> str:
    """Return why containerd has to unpack layers itself; empty if links to our files are enough."""
    if snapshotter != EROFS:
        return f"its containers use the snapshotter {printable(snapshotter)}, not {EROFS}"
    numbers = _VERSION.match(version)
    if numbers is None or tuple(map(int, numbers.groups())) < LINKING_SINCE:
        return f"containerd {printable(version, 40)} is older than {'.'.join(map(str, LINKING_SINCE))}"
    if root is None or not same_file_system(root, content):
        return f"{root} and the store are on different file systems"
    return ""


def same_file_system(root: Path, content: Path) -> bool:
    """Whether links from a folder of containerd to our blobs are possible, as far as device numbers tell."""
    try:
        return root.stat().st_dev == content.stat().st_dev
    except OSError:
        return False
