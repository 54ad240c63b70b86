"""Flow ``bundle``: from an image in the store to a runtime bundle.

    (pull) ─▶ (apply …) ─▶ commit_snapshots ─▶ transform_config ─▶ create_snapshot ─▶ write_bundle

With ``copied`` there is no snapshot: ``write_bundle`` writes the root file system from the layers' model.
"""

from prefect import flow

from config.home import home_or_default, namespace_or_default
from flows.discreet import discreet
from flows.forms.parameters import (
    Copied,
    Credentials,
    Cwd,
    Directory,
    Driver,
    Environment,
    Home,
    Id,
    ImageName,
    Namespace,
    Platform,
    Pulling,
    ReadOnly,
    Secrets,
    Tty,
    User,
    Words,
)
from flows.forms.results import Bundled
from flows.pull import pull as pull_image
from flows.runs.bundling import making, rootless
from flows.runs.cancelling import cancellable
from flows.variables import words
from prestow.runtime.overrides import Overrides
from prestow.space.admission import admit
from tasks.apply import apply
from tasks.commit_snapshots import commit_snapshots
from tasks.create_snapshot import create_snapshot
from tasks.policy import NOWHERE
from tasks.threads import THREADS
from tasks.transform_config import transform_config
from tasks.write_bundle import write_bundle


@cancellable
@discreet
@flow(
    flow_run_name="bundle {reference}",
    task_runner=THREADS,
    result_storage=NOWHERE,
    persist_result=False,
)
def bundle(
    reference: ImageName,
    directory: Directory = None,
    id: Id = None,  # noqa: A002 - the parameter's name is the field's word, and the form's
    copied: Copied = False,
    pull: Pulling = "never",
    args: Words = (),
    env: Environment = (),
    user: User = None,
    cwd: Cwd = None,
    tty: Tty = False,
    read_only: ReadOnly = False,
    platform: Platform = None,
    driver: Driver = "auto",
    secrets: Secrets = (),
    credentials: Credentials = None,
    home: Home = None,
    namespace: Namespace = None,
) -> Bundled:
    """Make ``config.json`` and ``rootfs`` of an image: mounted, or with ``copied`` a full copy.

    Pulls only as ``pull`` says; stored layers that are not unpacked yet are unpacked.
    """
    home, namespace = home_or_default(home), namespace_or_default(namespace)
    with making(home, reference, id, directory, platform, namespace) as run:
        overrides = Overrides(
            args=words(args), env=run.environment(env, secrets), user=user, cwd=cwd, tty=tty, read_only=read_only,
            rootless=rootless(),
        )  # fmt: skip
        if run.must_pull(pull):
            run.reference = pull_image.fn(
                reference, platform=platform, driver=driver, home=home, namespace=namespace, credentials=credentials
            ).name
        name, image = run.find()
        admit(run.node, run.lease, image, driver, root=not copied)
        applied = [apply.submit(home, name, None, layer, None) for layer in image.layers]
        committed = commit_snapshots(home, name, None, image, tuple(a.result() for a in applied), driver)
        spec = transform_config(home, name, image, overrides, committed)
        created = None if copied else create_snapshot(home, name, run.snapshot, committed)
        written = write_bundle(home, name, run.id, image, spec, created, run.directory, namespace)
    return run.bundled(written, image)
