"""Flow ``fsck``, of one step of the same name: find what is damaged in a store, repair it; on a schedule or by hand."""

from prefect import flow

from config.home import home_or_default, namespace_or_default
from flows.discreet import discreet
from flows.forms.fsck_table import publish_table
from flows.forms.parameters import Credentials, Home, ImageNameOrAll, Namespace, Repair
from flows.naming import fsck_name
from flows.runs.cancelling import cancellable
from prestow.fsck.run import FsckResult
from tasks.fsck import fsck as check_and_repair
from tasks.journal import journal
from tasks.policy import NOWHERE


@cancellable
@discreet
@flow(flow_run_name=fsck_name, result_storage=NOWHERE, persist_result=False)
def fsck(
    image: ImageNameOrAll = None,
    repair: Repair = False,
    credentials: Credentials = None,
    home: Home = None,
    namespace: Namespace = None,
) -> FsckResult:
    """Hash and compare all that is stored of an image, or of every image and of the store's own records.

    The run publishes what is damaged as a table artifact. It fails at the end if anything is still damaged.
    """
    with journal():
        home, namespace = home_or_default(home), namespace_or_default(namespace)
        return publish_table(check_and_repair(home, namespace, image, repair, credentials))
