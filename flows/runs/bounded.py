"""The bounds of a deployed run: whoever can create runs chooses their parameters, the host says what these may name.

They are checked inside the run, on its host, by that host's settings. Flows that a terminal or a program calls are not
bounded: their caller has this user's rights anyway.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from config.home import default_home, home_or_default
from config.settings import load
from flows.runs.bounds import Bounds


def bounds(home: str) -> Bounds:
    """Return the bounds that this host sets for runs of the store in ``home``; its own bundles are always allowed."""
    settings = load()
    return Bounds(
        homes=(default_home(), *settings.deployed_homes),
        directories=(Path(home, "bundles"), Path(home, "namespaces"), *settings.deployed_directories),
        layouts=settings.deployed_layouts,
        fleets=settings.deployed_fleets,
        registries=settings.deployed_registries,
        secrets=settings.deployed_secrets,
    )


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Check the parameters of a deployed run of any of our flows.

    Raises:
        OutOfBoundsError: one names what the host does not allow.
        InvalidError: a reference breaks the grammar.
    """
    home = home_or_default(parameters.get("home"))
    allowed = bounds(home)
    allowed.check_home(home)
    if parameters.get("directory"):
        allowed.check_directory(parameters["directory"])
    if parameters.get("credentials"):
        allowed.check_credentials(parameters["credentials"])
    if parameters.get("registry"):
        allowed.check_registry(parameters["registry"])
    if parameters.get("file"):
        allowed.check_fleet(parameters["file"])
    for source in _sources(parameters):
        allowed.check_source(source)


def _sources(parameters: Mapping[str, Any]) -> Iterator[str]:
    """Yield the images that the run may pull."""
    if "reference" in parameters and parameters.get("pull") != "never":
        yield parameters["reference"]
    yield from parameters.get("images", ())
