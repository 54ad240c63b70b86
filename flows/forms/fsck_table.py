"""What an examination found, as a table artifact, and as the end of its run."""

from collections.abc import Iterator

from prefect.artifacts import create_table_artifact

from flows.forms.markdown import code
from prestow.errors import MismatchError, printable
from prestow.fsck.repair import Repaired
from prestow.fsck.run import Examined

_KEY = "prestow-verify"


def told(examined: Examined) -> Examined:
    """Publish the table, and give what was found.

    Raises:
        MismatchError: something is damaged still.
    """
    table = [row for found in examined.every for row in _rows(found)]
    create_table_artifact(table=table, key=_KEY, description=f"{examined.damaged} of what was looked at is damaged")
    if examined.damaged:
        name, first = next((found.found.shown, damage) for found in examined.every for damage in found.left)
        raise MismatchError(
            f"{examined.damaged} of what is stored is damaged, the first {printable(first.name)} of "
            f"{printable(name)}: {first.what}; "
            "`prestow verify --all --repair` repairs what can be repaired"
        )
    return examined


def _rows(found: Repaired) -> Iterator[dict[str, str]]:
    """Lay one name out, where text is Markdown: as code it stays what it is."""
    name = code(found.found.shown) if found.found.name else found.found.shown
    if not found.found.damaged:
        yield {"image": name, "damaged": "-", "what": "all well", "became": "-"}
    became = {mended.name: mended.how or mended.why_not for mended in found.mended}
    for damage in found.found.damaged:
        yield {
            "image": name,
            "damaged": code(damage.name),
            "what": code(damage.what),
            "became": code(became.get(damage.name, "still damaged")),
        }
