"""Flow ``pull``: an image from its source into the store, unpacked and named.

    resolve ─▶ fetch_manifest ─┬▶ fetch_layer ─▶ verify ─▶ apply ─┐
                               ├▶ fetch_layer ─▶ verify ─▶ apply ─┼▶ commit_snapshots ─▶ tag
                               └▶ …                               ┘

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
    Platform,
    PullDryRun,
    PullHold,
    PullStop,
    Source,
)
from flows.forms.results import Pulled
from flows.runs.cancelling import cancellable
from flows.runs.pulling import in_turns, pulling
from prestow.space.admission import admit
from tasks.apply import apply
from tasks.commit_snapshots import commit_snapshots
from tasks.fetch_layer import fetch_layer
from tasks.fetch_manifest import fetch_manifest
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
    home: Home = None,
    namespace: Namespace = None,
    dry_run: PullDryRun = False,
    credentials: Credentials = None,
) -> Pulled:
    """Pull an image: fetch it, verify it, unpack it, and tag it last of all.

    Data that the store has is neither fetched nor unpacked again. Stopped with ``stop_after``, cancelled or
    killed, the next run goes on from what is complete. With ``hold_after`` the run waits there for a person to approve.
    With ``dry_run`` it only reports what would be fetched.
    """
    home, namespace = home_or_default(home), namespace_or_default(namespace)
    with pulling(home, reference, name, stop_after, hold_after, namespace, credentials, dry_run=dry_run) as run:
        run.target = target = resolve(home, run.name, reference, credentials)
        run.reached("resolved")
        run.image = image = fetch_manifest(home, run.name, reference, target, platform, credentials)
        run.reached("manifest-stored")
        run.expect(driver)
        layers = image.largest_first
        fetched = in_turns(
            admit(run.node, run.lease, image, driver),
            layers,
            lambda layer, before: fetch_layer.submit(home, run.name, reference, layer, credentials, wait_for=before),
        )
        run.reached("layer-fetched", fetched)
        stored = [verify.submit(home, run.name, *each) for each in zip(layers, fetched, strict=True)]
        run.reached("layer-stored", fetched, stored)
        applied = [
            apply.submit(home, run.name, reference, *each, credentials) for each in zip(layers, stored, strict=True)
        ]
        run.reached("layer-applied", fetched, stored, applied)
        committed = commit_snapshots(
            home, run.name, reference, image, tuple(a.result() for a in applied), driver, credentials
        )
        run.reached("unpacked")
        tag(home, run.name, reference, target, committed, namespace)
        run.reached("tagged")
    return run.pulled()
