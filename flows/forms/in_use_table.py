"""Images that a runtime of the host uses, as a table artifact."""

from prefect.artifacts import create_table_artifact

from flows.forms.markdown import code, size
from prestow.handover.hand_over import HandOver

_KEY = "prestow-in-use"


def publish_table(images: tuple[HandOver, ...]) -> tuple[HandOver, ...]:
    """Publish the table, and return the images."""
    rows = [
        {
            "image": code(each.name),
            "digest": code(each.digest),
            "runtime": code(f"{each.runtime} ({each.namespace})"),
            "form": each.form or "not given by prestow",
            "pinned": "yes" if each.pinned else "no",
            "shared": size(each.shared_bytes),
        }
        for each in images
    ]
    create_table_artifact(table=rows, key=_KEY, description=f"{len(rows)} images that the runtime uses")
    return images
