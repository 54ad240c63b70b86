"""Flow ``check_credentials``, of one step, ``check_login``: whether a registry takes the credentials of a block.

>>> check_credentials("block:team", "registry.example")  # doctest: +SKIP
"""

from prefect import flow

from config.home import home_or_default
from flows.discreet import discreet
from flows.forms.parameters import Home, NamedCredentials, Registry
from flows.runs.cancelling import cancellable
from tasks.check_login import check_login
from tasks.journal import journal
from tasks.policy import NOWHERE


@cancellable
@discreet
@flow(flow_run_name="check {credentials} at {registry}", result_storage=NOWHERE, persist_result=False)
def check_credentials(credentials: NamedCredentials, registry: Registry, home: Home = None) -> str:
    """Show the credentials of a block to a registry, from this host; the run fails if the registry refuses them.

    No image is asked for.
    """
    with journal():
        return check_login(home_or_default(home), credentials, registry)
