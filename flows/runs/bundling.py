"""A bundle being made, and a container running: what the two flows know on their way, and what they report."""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from prefect.context import FlowRunContext

from flows.forms.results import Bundled, Ran
from flows.variables import environment
from prestow.containers.create import Written, remove_container
from prestow.content.plan import plan, unpackable
from prestow.errors import AlreadyExistsError, InvalidError, NotFoundError
from prestow.oci.image import Image
from prestow.oci.lookup import find_image
from prestow.platforms import platform_or_host
from prestow.runtime.bundle import check_container_id
from prestow.runtime.overrides import Rootless
from prestow.runtime.runc import Exit
from prestow.store.node import Node, open_node
from prestow.store.unattended import removed_afterwards
from tasks.journal import Journal, journal


def _id_or_new(container_id: str | None) -> str:
    """Check a container ID from outside, or make one up."""
    if container_id is None:
        return f"c{secrets.token_hex(6)}"
    check_container_id(container_id)
    return container_id


def rootless() -> Rootless | None:
    """Return as whom a container runs where we are not root: in a user namespace, on a copy of its image."""
    return Rootless(os.geteuid(), os.getegid()) if os.geteuid() else None


@dataclass(slots=True)
class Making:
    """One bundle."""

    node: Node
    reference: str
    id: str
    directory: Path
    platform: str | None
    journal: Journal
    lease: str
    name: str = ""
    began: float = field(default_factory=time.monotonic)

    @property
    def snapshot(self) -> str:
        """Key of the container's snapshot."""
        return self.node.snapshot_key(self.id)

    def must_pull(self, policy: str) -> bool:
        """Decide whether to pull first: always, never, or when the image is not here for the platform."""
        if policy == "missing":
            try:
                self.find()
            except (NotFoundError, InvalidError):  # an archive's own name may be no name of an image
                return True
        return policy == "always"

    def environment(self, env: tuple[str, ...], secrets: tuple[str, ...]) -> tuple[str, ...]:
        """Return the container's variables with their values, of which a deployed run may read what this host offers.

        Raises:
            PrestowError: as :func:`flows.variables.environment`.
        """
        context = FlowRunContext.get()
        deployed = context is not None and context.flow_run is not None and context.flow_run.deployment_id is not None
        return environment(env, secrets, self.node.settings.deployed_secrets if deployed else None)

    def find(self) -> tuple[str, Image]:
        """Look the name up, and the image from the content store; protect it for as long as the bundle is made.

        Raises:
            NotFoundError: no such name, nothing for the platform, or a layer is missing.
        """
        record = self.node.image(self.reference)
        self.node.leases.add(self.lease, "content", [record.target.digest])
        image = find_image(self.node.content, record.target, platform_or_host(self.platform))
        self.node.protect(self.lease, image)
        self.node.leases.add(self.lease, "snapshot", [self.snapshot])
        unpackable(plan(image, self.node.content))
        # A pull that was killed after it wrote the name is done, but for ending its lease.
        self.node.leases.delete_unfinished(f"pull {record.name}", within=self.lease)
        self.node.images.use(record.name)
        self.name = record.name
        return record.name, image

    def bundled(self, written: Written, image: Image) -> Bundled:
        """Show what was made."""
        return Bundled(
            id=self.id,
            image=self.name,
            digest=str(image.manifest.digest),
            directory=str(written.directory),
            driver=written.driver,
            warnings=written.warnings,
            seconds=self.journal.durations(self.began),
        )


@contextmanager
def making(
    home: str,
    reference: str,
    container_id: str | None,
    directory: str | None,
    platform: str | None,
    namespace: str | None,
) -> Iterator[Making]:
    """Begin a bundle: check the ID, take a lease, open the journal.

    Raises:
        InvalidError: the container ID breaks the grammar.
    """
    node, chosen = open_node(home, namespace), _id_or_new(container_id)
    place = Path(directory).absolute() if directory else node.bundle_folder(chosen)
    with journal() as book, node.lease(f"bundle {chosen}") as lease:
        yield Making(node, reference, chosen, place, platform, book, lease)


@dataclass(slots=True)
class Running:
    """One container."""

    node: Node
    id: str
    rm: bool
    journal: Journal
    began: float = field(default_factory=time.monotonic)

    def ran(self, bundled: Bundled, ended: Exit) -> Ran:
        """Show how its process ended."""
        return Ran(
            id=self.id,
            image=bundled.image,
            status=ended.status,
            removed=self.rm,
            warnings=bundled.warnings,
            seconds=self.journal.durations(self.began),
        )


def failed(container_id: str, ended: Exit) -> str:
    """Say how a container's process failed, with the last lines that it wrote."""
    last = "".join(f"\n| {line}" for line in ended.last_lines)
    return f"container {container_id}: its process ended with status {ended.status}{':' * bool(last)}{last}"


@contextmanager
def running(home: str, container_id: str | None, *, rm: bool, namespace: str | None) -> Iterator[Running]:
    """Begin a container; with ``rm`` remove it afterwards, however it ended.

    Raises:
        AlreadyExistsError: it is there, and ``rm`` would remove what this run did not make.
    """
    node = open_node(home, namespace)
    if rm and container_id is not None:
        _refuse_known(node, container_id)
    with journal() as book:
        container = Running(node, _id_or_new(container_id), rm, book)
        with _removed_afterwards(container) if rm else nullcontext():
            yield container


def _refuse_known(node: Node, container_id: str) -> None:
    node.recover()  # one that a killed run left is removed, and the ID free again
    if container_id in {record.id for record in node.containers.list()}:
        raise AlreadyExistsError(
            f"container {container_id} exists, and --rm would remove it; "
            f"choose another ID, or remove it by `prestow containers rm {container_id}`"
        )


def _removed_afterwards(container: Running) -> AbstractContextManager[None]:
    def remove() -> None:
        with suppress(NotFoundError):  # it was never made
            remove_container(container.node, container.id)

    return removed_afterwards(container.node.bundle_folder(container.id).parent, container.id, remove)
