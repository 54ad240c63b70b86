"""Flow ``prune``, of one step, ``sweep``: free what nothing holds any more; on a schedule, or by hand."""

from prefect import flow

from config.home import home_or_default
from flows.forms.parameters import Above, Below, DryRun, Generations, Home, Unfinished, UnusedDays
from flows.naming import prune_name
from flows.runs.cancelling import cancellable
from flows.tagging import tagged
from prestow.gc.prune import Choice, Pruned
from tasks.journal import journal
from tasks.policy import NOWHERE
from tasks.sweep import sweep


@cancellable
@tagged
@flow(flow_run_name=prune_name, result_storage=NOWHERE, persist_result=False)
def prune(
    dry_run: DryRun = False,
    keep_generations: Generations = None,
    unused_days: UnusedDays = None,
    above: Above = None,
    below: Below = None,
    unfinished: Unfinished = False,
    home: Home = None,
) -> Pruned:
    """Remove blobs, snapshots and old partial downloads that no name, container or lease holds.

    Names are removed only by retention rules that are given here or set on the host.
    """
    with journal():
        return sweep(home_or_default(home), Choice(keep_generations, unused_days, above, below, unfinished), dry_run)
