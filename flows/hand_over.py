"""Flow ``hand_over``, of one step an image: a runtime of this host gets images that are here, without a network.

>>> hand_over(["docker.io/library/ubuntu:24.04"], pin=True)  # doctest: +SKIP
"""

from prefect import flow
from prefect.futures import wait

from config.home import home_or_default, namespace_or_default
from flows.forms.parameters import Force, HandOverTo, Home, Namespace, Pin, StoredImages
from flows.naming import hand_over_name
from flows.rollout.reporting import report_from_run
from flows.runs.cancelling import cancellable
from flows.runs.handing_over import stored_images
from flows.tagging import tagged
from prestow.handover.hand_over import HandOver
from tasks.hand_over import hand_over as hand_over_image
from tasks.journal import journal
from tasks.opened import open_node
from tasks.policy import NOWHERE
from tasks.threads import THREADS


@cancellable
@tagged
@flow(flow_run_name=hand_over_name, task_runner=THREADS, result_storage=NOWHERE, persist_result=False)
def hand_over(
    images: StoredImages,
    runtime: HandOverTo = "auto",
    pin: Pin = False,
    force: Force = False,
    home: Home = None,
    namespace: Namespace = None,
) -> tuple[HandOver, ...]:
    """Hand images of the store over to a container runtime of this host, and ask it whether it would use them.

    Images that it has are not given again, so this may run every hour, and brings back images that the runtime removed.
    A failed image does not stop the others; the run then fails at the end.
    """
    home, namespace = home_or_default(home), namespace_or_default(namespace)
    with journal():
        futures = [
            hand_over_image.submit(home, *each, runtime, pin, None, namespace, force)
            for each in stored_images(home, namespace, images)
        ]
        wait(futures)
        report_from_run(open_node(home, namespace))
        return tuple(future.result() for future in futures)
