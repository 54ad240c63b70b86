"""The layers of a pulled image as a table artifact of its run: layer, size, fetched or reused, seconds."""

import json
from contextlib import suppress

from httpx import HTTPError
from prefect import get_client
from prefect.context import FlowRunContext

from flows.forms.markdown import code, size
from flows.forms.results import Pulled, PulledLayer
from tasks.journal import Journal

_STEPS = ("fetch_layer", "verify", "apply")
_HERE = ("stored", "applied")


def publish_table(result: Pulled, journal: Journal) -> None:
    """Publish the table; there is none outside a run, before the layers are known, or if the API does not take it."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or not result.layers:
        return
    rows = [_row(at, layer, journal) for at, layer in enumerate(result.layers, 1)]
    moved = f"{size(result.fetched_bytes)} fetched, {size(result.reused_bytes)} reused"
    about = f"{code(result.name)} {code(result.digest)}: {moved}"
    table = {"type": "table", "description": about, "data": json.dumps(rows), "flow_run_id": str(context.flow_run.id)}
    with suppress(HTTPError), get_client(sync_client=True) as client:
        # the client's own method spends more on reading the answer than all the rest takes
        client.request("POST", "/artifacts/", json=table)


def _row(at: int, layer: PulledLayer, journal: Journal) -> dict[str, str]:
    """Lay a layer out; the seconds are those of its own steps in this run."""
    subjects = {layer.digest, layer.diff_id}
    seconds = sum(took for (step, subject), took in journal.took.items() if step in _STEPS and subject in subjects)
    if layer.fetched_bytes:
        came = f"fetched {size(layer.fetched_bytes)}"
    else:
        came = "reused" if layer.state in _HERE else layer.state
    return {
        "layer": f"{at} {code(layer.digest[:19])}",
        "size": size(layer.size),
        "fetched or reused": came,
        "seconds": f"{seconds:.2f}",
    }
