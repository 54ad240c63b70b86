"""A container's control group lies below that of whoever runs it, whose limits then bind it, and with which it ends.

Where a spec names no group, runc 1.1.5 makes one: in each hierarchy of v1 below its own; under v2 *beside* its own; and
where both are mounted, in v2 below the root. So the spec names one, for this run alone: the next may come from another
group, or be another user's. A runtime reads the spec from a bundle's folder, so such a run has a folder of its own
inside the bundle.

Limits of the container's own, which no verb sets, v2 takes for no group below one that has processes, as ours does: a
spec with such limits leaves the choice to the runtime.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prestow.content.disk import translated
from prestow.runtime.bundle import CONFIG, PLACED
from prestow.runtime.control_groups import ROOT, UNIFIED, folder, memberships
from prestow.runtime.spec import Spec


@contextmanager
def placed(bundle: Path, spec: Spec, container_id: str) -> Iterator[Path]:
    """Yield the bundle's folder for a run of this process's: one whose spec names the group, where that is needed.

    Raises:
        StorageError: the disk failed.
    """
    document = spec.document
    linux = document.setdefault("linux", {})
    settled = linux.get("cgroupsPath") or linux.get("resources", {}).keys() - {"devices"}
    path = None if settled else _below_ours(container_id)
    if path is None:
        yield bundle
        return
    linux["cgroupsPath"] = path
    document["root"]["path"] = str(bundle.absolute() / document["root"]["path"])
    own = bundle / PLACED
    with translated(f"bundle {bundle}"):
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir(0o700)
        with os.fdopen(os.open(own / CONFIG, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(Spec.of(document).to_json())
    try:
        yield own
    finally:
        shutil.rmtree(own, ignore_errors=True)
        _tidy(path)


def _below_ours(container_id: str) -> str | None:
    """Return a ``cgroupsPath`` below this process's groups; None where the runtime's choice is such, or we may not.

    A path with ``/`` before it counts from the root of each hierarchy; one without counts in v1 from the runtime's own
    group, in v2 from the root.
    """
    try:
        groups = memberships()
        ours = groups.get(UNIFIED, ROOT)
        if ours == ROOT or not os.access(folder(UNIFIED, ours), os.W_OK):
            return None
    except OSError:
        return None
    same = set(groups.values()) == {ours}
    return f"{ours if same else ours.removeprefix('/')}/{container_id}"


def _tidy(path: str) -> None:
    """Remove the empty groups that such a path has left in v1, between the runtime's own and the container's."""
    if path.startswith("/"):
        return
    for hierarchy, ours in memberships().items():
        between = Path(path).parent
        while hierarchy != UNIFIED and between.name:
            try:
                (folder(hierarchy, ours) / between).rmdir()
            except OSError:  # another container's, or none
                break
            between = between.parent
