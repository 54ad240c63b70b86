"""Verb ``export``: write images for a site without a network; it only reads the store."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb, folder, source
from flows.cli.output import emit, size
from flows.cli.tables import fit

if TYPE_CHECKING:
    from prestow.export.write import Export


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "export", run,
        help="write images into an OCI archive or layout, from which other hosts pull without a network",
        example="prestow export alpine:3.20 -o /media/stick/alpine.tar\n"
        "prestow export alpine:3.20 team/app:2 -o /media/stick/layout/\n"
        "prestow export team/app:3 --without team-app-2.tar -o update.tar",
    )  # fmt: skip
    verb.add_argument("names", metavar="NAME", nargs="+", type=source, help="name of an image, or its digest")
    verb.add_argument(
        "-o",
        "--output",
        metavar="FILE|DIR",
        type=folder,
        required=True,
        help="archive to write; or, with a slash at its end, a new or empty directory for a layout",
    )
    verb.add_argument(
        "--without",
        metavar="FILE|DIR",
        type=folder,
        action="append",
        default=[],
        help="leave out the layers that an earlier export held, or left out itself; may be repeated",
    )
    verb.add_argument("--force", action="store_true", help="replace FILE if it exists")


def run(args: argparse.Namespace) -> int:
    """Write the export, and say what is in it."""
    from flows.cli.progress import shown
    from prestow.export.select import choose, earlier_exports
    from prestow.export.write import export_of, write_archive, write_layout
    from prestow.registry.archive import Scratch
    from prestow.store.node import open_node
    from tasks.journal import recorded_step

    node, output = open_node(args.home, args.namespace), Path(args.output)
    archive = not (args.output.endswith("/") or output.is_dir())
    in_earlier = earlier_exports(map(Path, args.without), Scratch(node.home))
    with node.lease("export") as lease, shown(args.progress):
        records = {record.name: record for record in map(node.image, args.names)}
        node.leases.add(lease, "content", [record.target.digest for record in records.values()])
        export = export_of(
            node.content,
            (choose(node.content, record.name, record.target, in_earlier) for record in records.values()),
            in_earlier,
        )
        node.leases.add(lease, "content", [blob.digest for blob in export.blobs])
        with recorded_step("export", output.name, export.size) as advance:
            if archive:
                count = write_archive(node.content, export, output, force=args.force, progress=advance)
            else:
                count = write_layout(node.content, export, output, progress=advance)
    short = "\n".join(f"{image.name}@{image.target.digest}" for image in export.images)
    loadable = {name for entry in export.for_docker for name in entry.names if archive}
    unloadable = {image.name for image in export.images if archive} - loadable
    text = fit(_text(export, output, count, unloadable), args.width)
    emit(_document(export, output, count, loadable), text, args, short=short)
    return 0


def _document(export: "Export", output: Path, count: int, loadable: set[str]) -> dict[str, object]:
    return {
        "output": str(output.absolute()),
        "bytes": count,
        "images": [
            {
                "name": image.name,
                "digest": image.target.digest,
                "platforms": image.platforms,
                "in_manifest_json": image.name in loadable,
            }
            for image in export.images
        ],
        "blobs": len(export.blobs),
        "left_out": [blob.digest for blob in export.left_out],
        "left_out_bytes": sum(blob.size for blob in export.left_out),
    }


def _text(export: "Export", output: Path, count: int, unloadable: set[str]) -> str:
    lines = [
        f"{image.name} @ {image.target.digest}" + (" (not in manifest.json)" if image.name in unloadable else "")
        for image in export.images
    ]
    left_out = sum(blob.size for blob in export.left_out)
    without = f", without {len(export.left_out)} blobs of {size(left_out)}" if export.left_out else ""
    return "\n".join([*lines, f"wrote {output}: {size(count)}{without}"])
