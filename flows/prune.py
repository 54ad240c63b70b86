"""Flow ``prune``, of one step, ``sweep``: free what nothing holds any more; on a schedule, or by hand."""

from prefect import flow

from config.home import home_or_default
from flows.cancelling import cancellable
from flows.parameters import DryRun, Home
from prestow.metadata.gc import Swept
from tasks.journal import journal
from tasks.policy import NOWHERE
from tasks.sweep import sweep


@cancellable
@flow(result_storage=NOWHERE, persist_result=False)
def prune(dry_run: DryRun = False, home: Home = None) -> Swept:
    """Remove blobs, snapshots and old partial downloads that no name, container or lease holds."""
    with journal():
        return sweep(home_or_default(home), dry_run)
