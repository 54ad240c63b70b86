"""Flow ``run``: a container of an image, in the foreground of its process.

    bundle ─▶ run_container ─▶ (remove the container)

The steps of ``bundle`` are part of the same run.
"""

from prefect import flow

from config.home import home_or_default, namespace_or_default
from flows.bundle import bundle
from flows.discreet import discreet
from flows.forms.parameters import (
    Check,
    Credentials,
    Cwd,
    Driver,
    Environment,
    Home,
    Id,
    Interactive,
    Namespace,
    Platform,
    Pulling,
    ReadOnly,
    Remove,
    Secrets,
    Source,
    Tty,
    User,
    Words,
)
from flows.forms.results import Ran
from flows.runs.bundling import failed, rootless, running
from flows.runs.cancelling import cancellable
from flows.variables import by_reference
from prestow.errors import ContainerFailedError
from tasks.policy import NOWHERE
from tasks.run_container import run_container
from tasks.threads import THREADS


@cancellable
@discreet
@flow(
    flow_run_name="run {reference}",
    task_runner=THREADS,
    result_storage=NOWHERE,
    persist_result=False,
)
def run(
    reference: Source,
    args: Words = (),
    env: Environment = (),
    user: User = None,
    cwd: Cwd = None,
    interactive: Interactive = False,
    tty: Tty = False,
    read_only: ReadOnly = False,
    id: Id = None,  # noqa: A002 - the parameter's name is the field's word, and the form's
    rm: Remove = False,
    check: Check = True,
    pull: Pulling = "missing",
    platform: Platform = None,
    driver: Driver = "auto",
    secrets: Secrets = (),
    credentials: Credentials = None,
    home: Home = None,
    namespace: Namespace = None,
) -> Ran:
    """Run a container of an image until its process ends; with ``rm`` nothing of it stays.

    Raises:
        ContainerFailedError: with ``check``, the process ended with another exit status than 0, which the error has.
    """
    home, namespace = home_or_default(home), namespace_or_default(namespace)
    with running(home, id, rm=rm, namespace=namespace) as container:
        made = bundle.fn(
            reference, id=container.id, copied=rootless() is not None, pull=pull, args=args, env=env, user=user,
            cwd=cwd, tty=tty, read_only=read_only, platform=platform, driver=driver, home=home, namespace=namespace,
            secrets=secrets, credentials=credentials,
        )  # fmt: skip
        names = by_reference(env, secrets)
        ended = run_container(home, made.image, made.digest, made.id, interactive or tty, namespace, names)
    ran = container.ran(made, ended)
    if check and ended.status:
        raise ContainerFailedError(failed(container.id, ended), status=ended.status, ran=ran)
    return ran
