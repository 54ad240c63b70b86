"""Flow ``prepull``: a list of images onto this host, before containers need them.

    pull ─┐
    pull ─┼▶ table of what is here now
    pull ─┘

Each is a flow run of its own, and one that fails stops no other.
"""

from prefect import flow

from config.home import home_or_default, namespace_or_default
from flows.discreet import discreet
from flows.fanout import pull_each
from flows.forms.parameters import Credentials, Driver, Home, Images, Namespace, Parallel, Platform, Unpack
from flows.forms.results import Prepulled
from flows.runs.cancelling import cancellable
from prestow.fleet.order import Order
from tasks.policy import NOWHERE


@cancellable
@discreet
@flow(result_storage=NOWHERE, persist_result=False)
def prepull(
    images: Images,
    platform: Platform = None,
    parallel: Parallel = None,
    driver: Driver = "auto",
    home: Home = None,
    namespace: Namespace = None,
    unpack: Unpack = True,
    credentials: Credentials = None,
    order: Order | None = None,
) -> Prepulled:
    """Pull every image of a list, a few at a time, and report as a table artifact what is here.

    Fails at the end, when all were tried, if any of them is not here.
    """
    home, namespace = home_or_default(home), namespace_or_default(namespace)
    return pull_each(
        home,
        images,
        platform=platform,
        parallel=parallel,
        driver=driver,
        namespace=namespace,
        unpack=unpack,
        credentials=credentials,
    )
