"""Flow ``pull``: an image from its source into the store, unpacked and named.

    resolve ─▶ fetch_manifest ─┬▶ fetch_layer ─▶ verify ─▶ apply ─┐
                               ├▶ fetch_layer ─▶ verify ─▶ apply ─┼▶ commit_snapshots ─▶ tag
                               └▶ …                               ┘     ▼
                                                                    hand_over

Without unpacking, fetch_artifact comes instead of fetch_manifest, and *tag* after the last *verify*. The image is
handed over only where a runtime is wanted.

>>> image = pull("docker.io/library/ubuntu:24.04")  # doctest: +SKIP
"""

from prefect import flow

from config.home import home_or_default, namespace_or_default
from flows.discreet import discreet
from flows.forms.parameters import (
    Credentials,
    Driver,
    Home,
    Name,
    Namespace,
    Pin,
    Platform,
    PullDryRun,
    PulledHandOver,
    PullHold,
    PullStop,
    Source,
    Unpack,
)
from flows.forms.results import Pulled
from flows.runs.cancelling import cancellable
from flows.runs.handing_over import container_image
from flows.runs.pulling import in_turns, pulling
from prestow.oci.image import Image
from prestow.space.admission import admit
from tasks.apply import apply
from tasks.commit_snapshots import commit_snapshots
from tasks.fetch_artifact import fetch_artifact
from tasks.fetch_layer import fetch_layer
from tasks.fetch_manifest import fetch_manifest
from tasks.hand_over import hand_over as give
from tasks.policy import NOWHERE
from tasks.resolve import resolve
from tasks.tag import tag
from tasks.threads import THREADS
from tasks.verify import verify


@cancellable
@discreet
@flow(
    flow_run_name="pull {reference}",
    task_runner=THREADS,
    result_storage=NOWHERE,
    persist_result=False,
)
def pull(
    reference: Source,
    platform: Platform = None,
    name: Name = None,
    stop_after: PullStop = None,
    hold_after: PullHold = None,
    driver: Driver = "auto",
    dry_run: PullDryRun = False,
    unpack: Unpack = True,
    credentials: Credentials = None,
    hand_over: PulledHandOver = None,
    pin: Pin = False,
    home: Home = None,
    namespace: Namespace = None,
) -> Pulled:
    """Pull an image: fetch it, verify it, unpack it, and tag it last of all.

    Without ``unpack`` it is stored as it is: this is possible with artifacts of any kind, too.

    Data that the store has is neither fetched nor unpacked again. Stopped with ``stop_after``, cancelled or
    killed, the next run goes on from what is complete. With ``hold_after`` the run waits there for a person to approve.
    With ``dry_run`` it only reports what would be fetched. With ``hand_over`` a container runtime of the host gets the
    image, and is asked whether it would use it.
    """
    home, namespace = home_or_default(home), namespace_or_default(namespace)
    with pulling(
        home, reference, name, stop_after, hold_after, namespace, credentials,
        platform=platform, unpack=unpack, dry_run=dry_run, hand_over=hand_over, pin=pin,
    ) as run:  # fmt: skip
        run.target = target = resolve(home, run.name, reference, credentials)
        run.reached("resolved")
        fetch = fetch_manifest if unpack else fetch_artifact
        run.image = image = fetch(home, run.name, reference, target, platform, credentials)
        run.reached("manifest-stored")
        run.expect(driver)
        blobs = image.largest_first
        fetched = in_turns(
            admit(run.node, run.lease, image, driver),
            blobs,
            lambda blob, before: fetch_layer.submit(home, run.name, reference, blob, credentials, wait_for=before),
        )
        run.reached("layer-fetched", fetched)
        stored = [verify.submit(home, run.name, *each) for each in zip(blobs, fetched, strict=True)]
        run.reached("layer-stored", fetched, stored)
        if isinstance(image, Image):
            applied = [
                apply.submit(home, run.name, reference, *each, credentials) for each in zip(blobs, stored, strict=True)
            ]
            run.reached("layer-applied", fetched, stored, applied)
            layers = tuple(each.result() for each in applied)
            committed = commit_snapshots(home, run.name, reference, image, layers, driver, credentials)
            run.reached("unpacked")
            complete: tuple[object, ...] = (committed,)
        else:
            complete = tuple(each.result() for each in stored)
        named = tag(home, run.name, reference, target, complete, namespace)
        run.reached("tagged")
        if run.runtime is not None:
            whole = container_image(run.node, image, platform)
            run.handed_over = give(home, run.name, whole, run.runtime, pin, named, namespace)
            run.reached("handed-over")
    return run.pulled()
