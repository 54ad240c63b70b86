"""Images that were handed over, and what the runtimes of the host say of them, as a table artifact.

The values are those of ``prestow in-use``. Each host has an artifact of its own, and each run a version of it.
"""

from contextlib import suppress
from datetime import UTC, datetime

from prefect.artifacts import create_table_artifact

from flows.forms.markdown import code, size
from prestow.errors import PrestowError
from prestow.fleet.names import key_of
from prestow.handover.in_use import InUse, in_use
from prestow.handover.runtime import Look
from prestow.store.node import Node


def publish_table(node: Node) -> None:
    """Ask each runtime about the images that it was given, and publish the table."""
    given, here = node.hand_overs.list(), {record.name for record in node.images.list()}
    rows: list[dict[str, str]] = []
    for runtime in sorted({each.runtime for each in given}):
        if names := sorted({each.name for each in given if each.runtime == runtime} & here):
            with suppress(PrestowError):  # it does not answer
                look, found = in_use(node, names, runtime)
                rows += [_row(node.host, look, each) for each in found]
    if rows:
        used = sum(row["in use"] == "yes" for row in rows)
        create_table_artifact(
            table=rows,
            key=f"prestow-in-use-{key_of(node.host)}",
            description=f"{used} of {len(rows)} images that were handed over on {code(node.host)} are in use",
        )


def _row(host: str, look: Look, each: InUse) -> dict[str, str]:
    """Lay one image out, where text is Markdown: as code it stays what it is."""
    made = each.last_container
    return {
        "host": code(host),
        "runtime": code(f"{look.runtime} {look.version} ({look.namespace}, {look.snapshotter})"),
        "image": code(each.name),
        "digest": code(each.digest),
        "in use": "yes" if each.in_use else "no",
        "resolves": ", ".join(code(name) for name, found in each.resolves.items() if found) or "-",
        "unpacked": "yes" if each.unpacked else "no",
        "pinned": "yes" if each.pinned else "no",
        "form": each.form or "not given by prestow",
        "shared": size(each.shared_bytes),
        "last container": "-" if made is None else f"{datetime.fromtimestamp(made, UTC):%Y-%m-%d %H:%M} UTC",
        "why not": "; ".join(map(code, each.faults)) or "-",
    }
