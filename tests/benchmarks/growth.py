"""What commands cost in stores of 100, 1,000, 10,000 images: CPU and lock time, and their ratios to an empty store.

    python -m tests.benchmarks.growth [--images N …] [--rounds N] [--whole N]

Each image has a name, a layer, a snapshot, and a container of its own. ``container`` notes one more, and forgets it.
CPU time of the process and its longest transaction, medians. A pull may take twice as long as in an empty store.
Commands that look at the whole store are given by the image, for stores of at most ``--whole`` images; the last of them
rebuild its database and take it apart. Ratios of one run hold on a busy machine, too.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

from flows.cli.tables import table
from prestow.digest import Digest
from prestow.fsck.run import fsck
from prestow.gc.explain import explain
from prestow.gc.prune import prune
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.database import Cursor, Database
from prestow.metadata.removal import remove_images
from prestow.metadata.tag import tag
from prestow.store.node import Node, open_node
from tests.image_factory import write_image
from tests.pulling import pulled
from tests.stores import DRIVER, grow, grow_containers
from tests.tar_builder import Tar

Figures = tuple[float, float]

_FRESH = count()
_BASE = 10  # images of the store that counts as empty
_ALIAS = "localhost/alias:1"


@contextmanager
def locked(seconds: list[float]) -> Iterator[None]:
    """Note how long each outer transaction of this process lasts."""
    transaction = Database.transaction

    @contextmanager
    def timed(self: Database) -> Iterator[Cursor]:
        with transaction(self) as cursor:
            began = time.thread_time()
            yield cursor
            seconds.append(time.thread_time() - began)

    Database.transaction = timed  # type: ignore[method-assign]
    try:
        yield
    finally:
        Database.transaction = transaction  # type: ignore[method-assign]


def measured(work: Callable[[], object], rounds: int) -> Figures:
    """Return the medians of a command's CPU time and of its longest transaction, after one that does not count."""
    took, longest = [], []
    for _ in range(rounds + 1):
        seconds: list[float] = []
        with locked(seconds):
            began = time.process_time()
            work()
            took.append(time.process_time() - began)
        longest.append(max(seconds, default=0.0))
    return statistics.median(took[1:]), statistics.median(longest[1:])


def commands(node: Node, folder: Path) -> dict[str, Callable[[], object]]:
    """Return the commands that have to do with one image."""
    target = node.images.list()[0].target

    def pull() -> None:
        number = next(_FRESH)
        write_image(folder / "layout", [Tar().file(f"{number:06d}", b"x").to_bytes()], ref="fresh")
        with node.unfinished(f"pull {number}"):
            pulled(node, f"oci:{folder}/layout:fresh", f"localhost/{number:06d}:1", drivers=(DRIVER,))

    def alias() -> None:
        tag(node.database, node.content, f"localhost/alias-{next(_FRESH)}:1", target)

    def remove() -> None:
        tag(node.database, node.content, _ALIAS, target)
        remove_images(node.database, node.content, [_ALIAS])

    return {"pull": pull, "tag": alias, "tag, rm": remove, "recover": node.recover}


def container(node: Node) -> None:
    """Note a container, and forget it."""
    key = f"fresh-{next(_FRESH)}"
    node.containers.put(
        ContainerRecord(node.namespace, key, _ALIAS, Digest.of(b"manifest"), DRIVER, key, "/nowhere", 0.0)
    )
    node.containers.remove(key)


def whole(node: Node) -> dict[str, Callable[[], object]]:
    """Return the commands that look at the whole store; the last ones take it apart."""
    digest = node.images.list()[0].target.digest

    def lose() -> None:
        node.database.close()
        node.database.path.unlink()
        node.images.list()

    def remove() -> None:
        for found in node.containers.list():
            node.containers.remove(found.id)
        remove_images(node.database, node.content, [image.name for image in node.images.list()])

    return {
        "images": node.images.list,
        "explain": lambda: explain(node, digest),
        "recover, once in a boot": lambda: node.recover(whole=True),
        "prune --dry-run": lambda: prune(node, dry_run=True),
        "fsck --all": lambda: fsck(node, None),
        "lost database": lose,
        "rm, all": remove,
        "prune, all": lambda: prune(node),
    }


def line(word: str, images: int, figures: Figures, first: dict[str, Figures]) -> tuple[object, ...]:
    """Return a line of the table; ``first`` are the figures of the store that counts as empty."""
    (took, lock), base = figures, first.setdefault(word, figures)
    ratios = f"{took / base[0]:.1f}", f"{lock / base[1]:.1f}" if base[1] else ""
    return word, images, f"{1e3 * took:.1f} ms", ratios[0], f"{1e3 * lock:.2f} ms", ratios[1]


def main() -> None:
    """Take the figures, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[100, 1_000, 10_000])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--whole", type=int, default=10_000)
    args = parser.parse_args()
    first: dict[str, Figures] = {}
    lines, per_image = [], []
    with tempfile.TemporaryDirectory(prefix="prestow-bench-") as scratch:
        for images in [_BASE, *args.images]:
            node = open_node(Path(scratch) / str(images))
            grow(node, images)
            for word, work in commands(node, Path(scratch)).items():
                lines.append(line(word, images, measured(work, args.rounds), first))
            grow_containers(node, images)
            lines.append(line("container", images, measured(partial(container, node), args.rounds), first))
            for word, work in whole(node).items() if images <= args.whole else ():
                began = time.process_time()
                work()
                per_image.append((word, images, f"{1e3 * (time.process_time() - began) / images:.2f} ms"))
            node.database.close()
    print(table(("COMMAND", "IMAGES", "CPU", "RATIO", "LOCK", "RATIO"), sorted(lines)))
    print()
    print(table(("COMMAND", "IMAGES", "CPU AN IMAGE"), sorted(per_image)))


if __name__ == "__main__":
    main()
