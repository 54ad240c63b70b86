"""Flow ``fleet``: an image set onto its hosts, wave after wave.

    wave 1 (seed) ─▶ hold ─▶ wave 2 ─▶ hold ─▶ …          each wave is one task run, the parent of its hosts' runs

>>> result = fleet("nightly", "fleet.yaml")  # doctest: +SKIP
"""

from prefect import flow

from config.home import home_or_default
from flows.forms.parameters import FleetPath, Home, RetryFailed, SetChoice
from flows.forms.results import RolledOut
from flows.rollout.coordinating import coordinating
from flows.runs.cancelling import cancellable
from flows.tagging import tagged
from tasks.journal import journal
from tasks.policy import NOWHERE
from tasks.wave import wave


@cancellable
@tagged
@flow(flow_run_name="fleet", result_storage=NOWHERE, persist_result=False)
def fleet(
    image_set: SetChoice = None,
    file: FleetPath = None,
    retry_failed: RetryFailed = False,
    home: Home = None,
) -> RolledOut:
    """Bring the images of a set onto its hosts, as the fleet file and its lock say.

    Hosts that have all images are not asked. The rollout of a coordinator that died is resumed. Fails at the end if the
    failure budget was used up; with ``retry_failed`` only the hosts that lack something are asked again.
    """
    home = home_or_default(home)
    with journal(), coordinating(file, image_set, again=retry_failed) as run:
        for each in run.waves():
            run.judged(each, wave(home, each, run.watch))
    return run.result()
