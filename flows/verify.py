"""Flow ``verify``, of one step, ``examine``: find what is damaged in a store, repair it; on a schedule or by hand."""

from prefect import flow

from config.home import home_or_default, namespace_or_default
from flows.forms.fsck_table import told
from flows.forms.parameters import Home, ImageNameOrAll, Namespace, Repair
from flows.runs.cancelling import cancellable
from prestow.fsck.run import Examined
from tasks.examine import examine
from tasks.journal import journal
from tasks.policy import NOWHERE


@cancellable
@flow(result_storage=NOWHERE, persist_result=False)
def verify(
    image: ImageNameOrAll = None, repair: Repair = False, home: Home = None, namespace: Namespace = None
) -> Examined:
    """Hash and compare all that is stored of an image, or of every image and of the store's own books.

    What is damaged is in a table artifact. Fails at the end if anything is damaged still.
    """
    with journal():
        return told(examine(home_or_default(home), namespace_or_default(namespace), image, repair))
