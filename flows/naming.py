"""The names of flow runs that are for a host rather than for one image: ``prepull gpu-01 · 3 images``.

Prefect calls these functions inside the run, also in one that a worker, a schedule or the UI starts.
"""

from typing import Any

from prefect.runtime import flow_run

from config.settings import SettingsError, load
from prestow.errors import printable
from prestow.fleet.order import Order
from prestow.store.opened import own_name

_LONGEST = 200  # characters of an image's name


def host() -> str:
    """Return the name of this host in the fleet; with settings that cannot be read, that of the machine."""
    try:
        return load().node_name or own_name()
    except SettingsError:
        return own_name()


def prepull_name() -> str:
    """Return the name of a pre-pull; one with an order is for the host of the order."""
    parameters = _parameters()
    order = parameters.get("order")
    return f"prepull {order.host if isinstance(order, Order) else host()} · {_images(parameters)}"


def hand_over_name() -> str:
    """Return the name of a hand-over."""
    return f"hand over {host()} · {_images(_parameters())}"


def prune_name() -> str:
    """Return the name of a prune."""
    return f"prune {host()}{' · dry run' if _parameters().get('dry_run') else ''}"


def fsck_name() -> str:
    """Return the name of an fsck."""
    parameters = _parameters()
    what = printable(parameters.get("image") or "all images", _LONGEST)
    return f"fsck {host()} · {what}{' · repair' if parameters.get('repair') else ''}"


def _parameters() -> dict[str, Any]:
    found: dict[str, Any] = flow_run.parameters
    return found


def _images(parameters: dict[str, Any]) -> str:
    count = len(parameters["images"])
    return f"{count} image{'' if count == 1 else 's'}"
