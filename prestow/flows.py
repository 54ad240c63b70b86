"""The flows, for Python programs: in a checkout and in a wheel, beside whatever else is called ``flows`` there.

>>> from prestow.flows import connected, pull
>>> with connected("/var/lib/prestow"):  # doctest: +SKIP
...     image = pull("docker.io/library/ubuntu:24.04")

They are Prefect's Flow objects: ``with_options``, ``serve`` and ``to_deployment`` are theirs, and they can be parts of
other flows. Without a ``home`` of their own they work on the store of the innermost :func:`connected` block.
"""

from flows.bundle import bundle
from flows.check_credentials import check_credentials
from flows.connection import connected
from flows.fanout import PrepullError
from flows.fleet import fleet
from flows.forms.results import Bundled, Foreseen, Prepulled, PrepulledImage, Pulled, PulledLayer, Ran, RolledOut
from flows.fsck import fsck
from flows.hand_over import hand_over
from flows.prepull import prepull
from flows.prune import prune
from flows.pull import pull
from flows.rollout.coordinating import RolloutError
from flows.run import run
from prestow.fsck.run import FsckResult
from prestow.gc.prune import Pruned
from prestow.handover.hand_over import HandOver
from tasks.registry_credentials import RegistryCredentials

__all__ = [
    "Bundled",
    "Foreseen",
    "FsckResult",
    "HandOver",
    "PrepullError",
    "Prepulled",
    "PrepulledImage",
    "Pruned",
    "Pulled",
    "PulledLayer",
    "Ran",
    "RegistryCredentials",
    "RolledOut",
    "RolloutError",
    "bundle",
    "check_credentials",
    "connected",
    "fleet",
    "fsck",
    "hand_over",
    "prepull",
    "prune",
    "pull",
    "run",
]  # fmt: skip
