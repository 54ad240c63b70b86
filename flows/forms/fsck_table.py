"""What an fsck found, as a table artifact of its host, and as the end of its run."""

import re
from collections.abc import Iterator

from prefect.artifacts import create_table_artifact

from flows.forms.markdown import code
from flows.naming import host
from prestow.errors import MismatchError, printable
from prestow.fleet.names import key_of
from prestow.fsck.repair import RepairResult
from prestow.fsck.run import FsckResult

_DIGEST = re.compile(r"(sha256:[0-9a-f]{12})[0-9a-f]+")


def publish_table(result: FsckResult) -> FsckResult:
    """Publish the table, and return the result.

    Raises:
        MismatchError: something is still damaged.
    """
    table = [row for each in result.every for row in _rows(each)]
    create_table_artifact(
        table=table,
        key=f"prestow-fsck-{key_of(host())}",
        description=f"{result.damaged} still damaged" if result.damaged else "nothing is damaged",
    )
    if result.damaged:
        name, first = next((each.found.shown, damage) for each in result.every for damage in each.left)
        more = f", and {result.damaged - 1} more" if result.damaged > 1 else ""
        raise MismatchError(
            f"{printable(first.name)} of {printable(name)} is damaged: {first.what}{more}; "
            "run `prestow fsck --all --repair` to repair what can be repaired"
        )
    return result


def _rows(result: RepairResult) -> Iterator[dict[str, str]]:
    """Lay one name out, where text is Markdown: as code it stays what it is. Short digests leave room for the rest."""
    name = code(result.found.shown) if result.found.name else result.found.shown
    if not result.found.damaged:
        yield {"image": name, "damaged": "nothing", "became": "", "what": ""}
    became = {outcome.damage.name: outcome.how or outcome.why_not for outcome in result.mended}
    for damage in result.found.damaged:
        yield {
            "image": name,
            "damaged": code(_DIGEST.sub(r"\1", damage.name)),
            "became": code(became.get(damage.name, "still damaged")),
            "what": code(damage.what),
        }
