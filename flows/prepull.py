"""Flow ``prepull``: a list of images onto this host, before containers need them.

    pull ─┐
    pull ─┼▶ report of what is here now
    pull ─┘

Each is a flow run of its own, and one that fails stops no other. With an order of the fleet, see :mod:`flows.delivery`.
"""

from prefect import flow

from config.home import home_or_default, namespace_or_default
from flows.delivery import deliver
from flows.discreet import discreet
from flows.fanout import Options, pull_each
from flows.forms.parameters import (
    Credentials,
    Driver,
    Home,
    Images,
    Namespace,
    Ordered,
    Parallel,
    Pin,
    Platform,
    PulledHandOver,
    Unpack,
)
from flows.forms.results import Prepulled
from flows.naming import prepull_name
from flows.runs.cancelling import cancellable
from tasks.policy import NOWHERE


@cancellable
@discreet
@flow(flow_run_name=prepull_name, result_storage=NOWHERE, persist_result=False)
def prepull(
    images: Images,
    platform: Platform = None,
    parallel: Parallel = None,
    driver: Driver = "auto",
    unpack: Unpack = True,
    credentials: Credentials = None,
    order: Ordered = None,
    hand_over: PulledHandOver = None,
    pin: Pin = False,
    home: Home = None,
    namespace: Namespace = None,
) -> Prepulled:
    """Pull every image of a list, a few at a time, and report what is on this host.

    Fails at the end, when all were tried, if any of them is not here, or with ``hand_over`` not used by the runtime.

    With an order, which the fleet sets, images have digests, get a lease and their names, and replace those of earlier
    generations; if they do not fit on the disk, nothing is fetched and the run ends as Refused.
    """
    options = Options(
        home_or_default(home), namespace_or_default(namespace), platform, driver, unpack, credentials, parallel,
        hand_over, pin,
    )  # fmt: skip
    return pull_each(images, options) if order is None else deliver(images, order, options)
