"""What the verbs do to a store, by the engine's own functions, in the order in which the flows call them.

Each verb starts from a state of the store, which an earlier one made, and says what it has done as soon as that is
done: whatever then happens to the machine, it must stay done.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from prestow.containers.create import Container, remove_container, write
from prestow.content.plan import holds_download, replacement
from prestow.content.verify import verify as commit
from prestow.digest import Digest
from prestow.errors import NotFoundError, StorageError
from prestow.fsck.run import fsck
from prestow.gc.prune import prune
from prestow.layers.apply import apply
from prestow.metadata.removal import remove_images
from prestow.metadata.tag import tag as write_name
from prestow.oci.image import Image
from prestow.oci.lookup import find_image, read_config
from prestow.platforms import host
from prestow.reference import image_name, parse_source
from prestow.registry.fetch import fetch_layer, fetch_manifest
from prestow.registry.resolve import resolve
from prestow.runtime.overrides import Overrides
from prestow.runtime.transform import transform_config
from prestow.snapshots.commit import commit_snapshots
from prestow.snapshots.create import create_snapshot
from prestow.snapshots.root_view import looked_at
from prestow.space.admission import admit
from prestow.store.node import Node, open_node
from tests.crash.supervisor import Call, Ended, supervised

ALIAS, BOX = "docker.io/library/alias:latest", "box"

EMPTY = "empty"
"""What is said when nothing is left."""

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Job:
    """Where something is to be done: the store, the image's reference, and who is told of what is done."""

    home: Path
    reference: str
    say: Say
    driver: str = "auto"

    @property
    def node(self) -> Node:
        """The store; its connection to the database is the process's own."""
        return open_node(self.home)

    @property
    def name(self) -> str:
        """The image's name."""
        return image_name(self.reference, None)

    def image(self) -> Image:
        """Return the image that the name stands for."""
        return find_image(self.node.content, self.node.image(self.name).target, host())


def pull(job: Job) -> None:
    """Pull, to the end."""
    _pull(job, unpacked=True)


def store(job: Job) -> None:
    """Pull, but for unpacking."""
    _pull(job, unpacked=False)


def _pull(job: Job, *, unpacked: bool) -> None:
    node, say = job.node, job.say
    source = node.source(job.reference)
    with node.unfinished(f"pull {job.name}") as lease:
        target = resolve(source, node.content, parse_source(job.reference))
        node.leases.add(lease, "content", [target.digest])
        image = fetch_manifest(source, node.content, target, host())
        node.protect(lease, image)
        say(f"blob {image.config.digest}")
        admit(node, lease, image, job.driver)
        for layer in image.largest_first:
            keep_blobs = node.settings.keep_blobs
            needless = replacement(layer, keep_blobs=keep_blobs)
            if not holds_download(node.content, layer, keep_blobs=keep_blobs):
                fetch_layer(source, node.content, layer, scans=node.scans, keep_blob=keep_blobs)
            commit(node.content, layer.descriptor, unless=needless)
            if not needless:
                say(f"blob {layer.descriptor.digest}")
        if unpacked:
            _unpack(job, image)
        write_name(node.database, node.content, job.name, target)
        say(f"name {job.name}")


def unpack(job: Job) -> None:
    """Unpack what was stored."""
    node = job.node
    with node.lease(f"bundle {BOX}") as lease:
        image = job.image()
        node.protect(lease, image)
        _unpack(job, image)


def _unpack(job: Job, image: Image) -> None:
    for layer in image.layers:
        keep_blob = job.node.settings.keep_blobs
        applied = apply(job.node.content, layer, scans=job.node.scans, keep_blob=keep_blob)
        job.say(f"blob {applied.diff_id}")
    commit_snapshots(job.node.snapshotter(job.driver), image)
    job.say(f"snapshot {image.chain_id}")


def bundle(job: Job) -> None:
    """Make a container on a snapshot."""
    _bundle(job, copied=False)


def copy(job: Job) -> None:
    """Make a container on a full copy."""
    _bundle(job, copied=True)


def _bundle(job: Job, *, copied: bool) -> None:
    node = job.node
    with node.lease(f"bundle {BOX}") as lease:
        record, image = node.image(job.name), job.image()
        node.protect(lease, image)
        node.leases.add(lease, "snapshot", [node.snapshot_key(BOX)])
        admit(node, lease, image, job.driver, root=not copied)
        driver = node.snapshotter(job.driver)
        commit_snapshots(driver, image)
        config = read_config(node.content, image.config)
        with looked_at(driver, image.chain_id, node.home / "looks") as rootfs:
            spec = transform_config(config, Overrides(), rootfs, host=host())
        created = None if copied else create_snapshot(driver, node.snapshot_key(BOX), image.chain_id)
        write(node, Container(BOX, record.name, image, created), spec, node.bundle_folder(BOX))
    job.say(f"container {BOX}")


def end(job: Job) -> None:
    """Remove the container; done already is success."""
    with suppress(NotFoundError):
        remove_container(job.node, BOX)
    job.say(f"no-container {BOX}")


def tag(job: Job) -> None:
    """Give the image a second name."""
    write_name(job.node.database, job.node.content, ALIAS, job.node.image(job.name).target)
    job.say(f"name {ALIAS}")


def forget(job: Job) -> None:
    """Forget all names; done already is success."""
    node = job.node
    node.recover()
    remove_images(node.database, node.content, [record.name for record in node.images.list()])
    job.say(f"no-name {job.name}")


def collect(job: Job) -> None:
    """Remove what nothing holds."""
    for left in prune(job.node).left:
        raise StorageError(left)
    job.say(EMPTY)


def repair(job: Job) -> None:
    """Verify everything, and repair it."""
    for left in (damage for each in fsck(job.node, None, repair=True).every for damage in each.left):
        raise StorageError(f"{left.kind} {left.name}: {left.what}")
    job.say(f"name {job.name}")
    job.say(f"snapshot {job.image().chain_id}")


def damage(job: Job) -> None:
    """Flip a bit of a document, of a layer with its diff blob, of another diff blob, and of the metadata image."""
    node, image = job.node, job.image()
    layers = image.layers
    digests = [image.config.digest, layers[0].descriptor.digest, layers[0].diff_id, layers[1].diff_id]
    paths = [node.content.path(digest) for digest in digests]
    for path in [*paths, *(node.home / "snapshots").glob("erofs/*.erofs")]:
        raw = bytearray(path.read_bytes())
        raw[len(raw) // 2] ^= 1
        path.chmod(0o600)
        path.write_bytes(raw)


def spoil(job: Job) -> None:
    """Leave a database that is none any more."""
    job.node.database.close()
    job.node.database.path.write_bytes(b"garbage" * 1000)


def clear(job: Job) -> None:
    """Bring a store to where nothing is in it."""
    end(job)
    forget(job)
    collect(job)


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb.

    Attributes:
        run: does it; the same again is success.
        states: what makes the state from which it starts, one after the other.
        here: what is done on top, in each life anew, as mounts do not outlive one.
        driver: by which snapshotter.
        settings: what the operator set.
        repairs: whether it starts from damage, and makes it right.
        leaves: a folder whose content the next command's flow run clears, where this verb makes none.
    """

    run: Callable[[Job], None]
    states: tuple[Callable[[Job], None], ...] = ()
    here: tuple[Callable[[Job], None], ...] = ()
    driver: str = "auto"
    settings: Mapping[str, str] = field(default_factory=dict)
    repairs: bool = False
    leaves: str = ""

    def supervised(self, job: Job, judge: Callable[[Call], int], *, reading: bool = False) -> Ended:
        """Do it in a process about whose system calls ``judge`` decides."""
        return supervised(lambda voice: self.run(replace(job, say=voice.say)), judge, reading=reading)


VERBS = {
    "pull": Verb(pull),
    "pull-without-blobs": Verb(pull, settings={"PRESTOW_KEEP_BLOBS": "false"}),
    "unpack": Verb(unpack, (store,)),
    "unpack-overlay": Verb(unpack, (store,), driver="overlay"),
    "unpack-native": Verb(unpack, (store,), driver="native"),
    "bundle": Verb(bundle, (pull,)),
    "bundle-overlay": Verb(bundle, (pull,), driver="overlay"),
    "bundle-native": Verb(bundle, (pull,), driver="native"),
    "bundle-copy": Verb(copy, (pull,)),
    "remove": Verb(end, (pull,), (bundle,)),
    "remove-copy": Verb(end, (pull,), (copy,)),
    "tag": Verb(tag, (pull,)),
    "forget": Verb(forget, (pull, tag)),
    "prune": Verb(collect, (pull, forget)),
    "repair": Verb(repair, (pull, damage), repairs=True),
    "rebuild": Verb(repair, (pull, tag, spoil), repairs=True),
}


def holds(job: Job, word: str) -> bool:
    """Whether what was said to be done is."""
    kind, _, name = word.partition(" ")
    node = job.node
    match kind:
        case "blob":
            return node.content.has(Digest(name)) and bool(node.content.check(Digest(name)))
        case "snapshot":
            return node.snapshotter(job.driver).committed(Digest(name))
        case "name" | "no-name":
            return (kind == "name") == (name in {record.name for record in node.images.list()})
        case "container" | "no-container":
            return (kind == "container") == (name in {record.id for record in node.containers.list()})
        case _ if word == EMPTY:
            return not list(node.content.walk()) and not node.snapshots()
    raise AssertionError(word)
