"""What people type who know docker, podman, skopeo, crane or kubectl: each command with its status and what it says.

A row has the first line of standard output and of standard error; … stands for what differs from store to store.
"""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.cli.foreign_words import COMMON_OPTIONS, OPTIONS, SUB_VERBS, VERBS
from flows.cli.main import main, parser
from prestow import __version__
from tests.flows.cli.conftest import Called


class Row(NamedTuple):
    """A command, and what is expected of it."""

    line: str
    status: int
    out: str = ""
    err: str = ""


IMAGES, ALL_IMAGES = "NAME  DIGEST  PLATFORM  SIZE  UPDATED", "NAMESPACE  NAME  DIGEST  PLATFORM  SIZE  UPDATED"
CONTAINERS = "ID  IMAGE  STATUS  DRIVER  BUNDLE"
VERSION = f"prestow {__version__}"
LISTS = "list images with `prestow images`, containers with `prestow ps`"
NO_VOLUMES = "`prestow run` mounts nothing of the host; use `prestow bundle`, and add mounts to its config.json"
NO_NETWORK = "a container of `run` has no network but its loopback; leave the option out"

EMPTY = [
    Row("images", 0, IMAGES),
    Row("images ls", 0, IMAGES),
    Row("images list", 0, IMAGES),
    Row("images ls --filter label=team", 0, IMAGES),
    Row("images ls --all-namespaces", 0, ALL_IMAGES),
    Row("images --all-namespaces ls", 0, ALL_IMAGES),
    Row("images ls --json", 0, "[]"),
    Row("--json images ls", 0, "[]"),
    Row("image ls", 0, IMAGES),
    Row("images -f label=team", 0, IMAGES),
    Row("images -q", 0),
    Row("containers", 0, CONTAINERS),
    Row("container ls", 0, CONTAINERS),
    Row("ps -aq", 0),
    Row("containers ls", 0, CONTAINERS),
    Row("ps", 0, CONTAINERS),
    Row("ps -a", 0, CONTAINERS),
    Row("ps --json", 0, "[]"),
    Row("snapshots ls", 0, "DRIVER  KIND  KEY  PARENT  DIFF ID"),
    Row("snapshot ls", 0, "DRIVER  KIND  KEY  PARENT  DIFF ID"),
    Row("export alpine -o alpine.tar", 3, err="prestow: image docker.io/library/alpine:latest is not in the store; …"),
    Row("logout registry.example", 3, err="prestow: logout: there is no login for registry.example in …"),
    Row("inspect alpine:3.20", 3, err="prestow: image docker.io/library/alpine:3.20 is not in the store; …"),
    Row("rmi -f alpine", 3, err="prestow: image docker.io/library/alpine:latest is not in the store; …"),
    Row("images rm alpine", 3, err="prestow: image docker.io/library/alpine:latest is not in the store; …"),
]
"""On a store with nothing in it."""

SAID = [
    Row("--version", 0, VERSION),
    Row("-V", 0, VERSION),
    Row("version", 0, VERSION),
    Row("--help", 0, "usage: prestow …"),
    Row("pull -h", 0, "usage: prestow pull …"),
    Row("rmi --help", 0, "usage: prestow rmi …"),
    Row("run --help", 0, "usage: prestow run [OPTIONS] REF [CMD ...]"),
    # not quite
    Row("", 2, err="prestow: the following arguments are required: VERB; see `prestow --help`"),
    Row("pul alpine", 2, err="prestow: no verb 'pul'; did you mean pull?"),
    Row("PULL alpine", 2, err="prestow: no verb 'PULL'; did you mean pull?"),
    Row("imagse", 2, err="prestow: no verb 'imagse'; did you mean images?"),
    Row("inspct alpine", 2, err="prestow: no verb 'inspct'; did you mean inspect?"),
    Row("hand-ovr alpine", 2, err="prestow: no verb 'hand-ovr'; did you mean hand-over?"),
    Row("bogus", 2, err="prestow: no verb 'bogus'; see `prestow --help`"),
    Row("pul run images", 2, err="prestow: no verb 'pul'; did you mean pull?"),
    Row("images lst", 2, err="prestow: images: no sub-verb 'lst'; did you mean list?"),
    Row("images pull alpine", 2, err="prestow: images: no sub-verb 'pull'; did you mean `prestow pull`?"),
    Row("containers run alpine", 2, err="prestow: containers: no sub-verb 'run'; did you mean `prestow run`?"),
    Row("fleet aply", 2, err="prestow: fleet: no sub-verb 'aply'; did you mean apply?"),
    Row("apply nightly", 2, err="prestow: no verb 'apply'; did you mean `prestow fleet apply`?"),
    Row("tag alpine base", 2, err="prestow: no verb 'tag'; did you mean `prestow images tag`?"),
    Row("--vesrion", 2, err="prestow: no option --vesrion; did you mean --version?"),
    Row("-v", 2, err="prestow: no option -v; did you mean -V?"),
    Row("pull alpine --platfrm linux/arm64", 2, err="prestow: pull: no option --platfrm; did you mean --platform?"),
    Row("pull --platfrm=linux/arm64 alpine", 2, err="prestow: pull: no option --platfrm; did you mean --platform?"),
    Row("images rm --forc alpine", 2, err="prestow: images rm: no option --forc; did you mean --force?"),
    Row("pull --driver overlays a", 2, err="prestow: argument --driver: no choice 'overlays'; did you mean overlay?"),
    Row("pull --driver zfs a", 2,
        err="prestow: argument --driver: expected auto, erofs, overlay or native, found 'zfs'"),
    Row("completion zhs", 2, err="prestow: argument SHELL: no choice 'zhs'; did you mean zsh?"),
    Row("containers inspect box", 2, err="prestow: containers: no sub-verb 'inspect'; see `prestow containers --help`"),
    Row("run --pull allways a", 125, err="prestow: argument --pull: no choice 'allways'; did you mean always?"),
    Row("run --evn A=b alpine env", 125, err="prestow: run: no option --evn; did you mean --env?"),
    Row("run", 125, err="prestow: the following arguments are required: REF; see `prestow run --help`"),
    # docker's, podman's, crane's and kubectl's
    Row("push alpine", 2,
        err="prestow: no verb 'push': prestow writes to no registry; let other hosts pull …with `prestow serve`"),
    Row("exec box sh", 2,
        err="prestow: no verb 'exec': a container has one command; run another one with `prestow run REF CMD`"),
    Row("logs -f box", 2, err="prestow: no verb 'logs': the output of a container is on the terminal …"),
    Row("containers logs box", 2, err="prestow: containers: no sub-verb 'logs': the output of a container is …"),
    Row("save alpine -o a.tar", 2,
        err="prestow: no verb 'save': write an image into a file with `prestow export NAME -o FILE`"),
    Row("load -i a.tar", 2, err="prestow: no verb 'load': take an image in … with `prestow pull docker-archive:FILE`…"),
    Row("build .", 2, err="prestow: no verb 'build': prestow builds no images; build one with buildah or docker, …"),
    Row("rm box", 2,
        err="prestow: no verb 'rm': remove a container with `prestow containers rm ID`, an image …"),
    Row("stop box", 2, err="prestow: no verb 'stop': stop a container with `prestow containers stop ID`"),
    Row("logn registry.example", 2, err="prestow: no verb 'logn'; did you mean login?"),
    Row("start box", 2, err="prestow: no verb 'start': create a container and start it with `prestow run REF`"),
    Row("ls", 2, err=f"prestow: no verb 'ls': {LISTS}"),
    Row("get pods", 2, err=f"prestow: no verb 'get': {LISTS}"),
    Row("copy docker://a oci:b", 2, err="prestow: no verb 'copy': take an image in with `prestow pull`; …"),
    Row("system prune", 2, err="prestow: no verb 'system': check this host with `prestow doctor`, …"),
    Row("volume ls", 2, err=f"prestow: no verb 'volume': {NO_VOLUMES}"),
    Row("help", 0, "usage: prestow …"),
    Row("help images rm", 0, "usage: prestow images rm …"),
    Row("help bogus", 2, err="prestow: no verb 'bogus'; see `prestow --help`"),
    Row("images alpine", 2, err="prestow: images: no sub-verb 'alpine'; see one image with `prestow inspect alpine`"),
    Row("images --digests", 2, err="prestow: images: no option --digests: digests are listed; whole ones with --wide"),
    Row("images --format json", 2, err="prestow: argument --format: print a document, …, with --json; …"),
    Row("inspect -f '{{.Id}}' demo", 2, err="prestow: inspect: no option -f: print fields with --format '{digest}'"),
    Row("ps --filter status=running", 2, err="prestow: containers: no option --filter: all containers are listed; …"),
    Row("run -m 1g nginx", 125, err="prestow: run: no option -m: set it in the config.json of `prestow bundle …`"),
    Row("run --restart=always nginx", 125, err="prestow: run: no option --restart: start it from a systemd unit, …"),
    Row("pause box", 2, err="prestow: no verb 'pause': a container runs until it ends; stop it with `prestow …`"),
    Row("system df", 2, err="prestow: no verb 'system': check this host with `prestow doctor`, …"),
    Row("df", 2, err="prestow: no verb 'df': see sizes with `prestow images`, and what can go with `prestow prune …`"),
    Row("image exists alpine", 2, err="prestow: images: no sub-verb 'exists': ask with `prestow inspect NAME`, …"),
    Row("list-tags docker://alpine", 2, err="prestow: no verb 'list-tags': prestow lists no tags of a registry; …"),
    Row("-n k8s.io images", 2, err="prestow: no option -n: choose a namespace with --namespace"),
    Row("--debug pull alpine", 2, err="prestow: no option --debug: `prestow doctor` says what does not work; …"),
    Row("-H tcp://host images", 2, err="prestow: no option -H: there is no daemon; choose a store with --home"),
    Row("rollout undo nightly", 2, err="prestow: no verb 'rollout': see one with `prestow fleet status`, go back …"),
    Row("fleet ls", 2, err="prestow: fleet: no sub-verb 'ls': list hosts with `prestow fleet hosts`, …"),
    Row("fleet status -w", 2, err="prestow: fleet status: no option -w: repeat it with `watch prestow fleet status`"),
    Row("rmi -af", 2, err="prestow: rmi: no option -af: name each image; `prestow prune --unused-for 30d` removes …"),
    Row("prune --filter until=24h", 2, err="prestow: prune: no option --filter: choose by age with --unused-for 30d"),
    Row("fsck --fix demo", 2, err="prestow: fsck: no option --fix: repair with --repair"),
    Row("pull Alpine", 2,
        err="prestow: argument REF: reference: repository 'library/Alpine' has capital letters; write library/alpine"),
    Row("login -p secret ghcr.io", 2, err="prestow: login: a password among the arguments is shown …; pipe it in …"),
    Row("login ghcr.io --authfile a", 2, err="prestow: login: no option --authfile: set REGISTRY_AUTH_FILE …"),
    Row("logout --all", 2, err="prestow: logout: no option --all: name each registry"),
    Row("export alpine", 2, err="prestow: the following arguments are required: -o/--output; see `prestow export …`"),
    Row("export -o", 2, err="prestow: argument -o/--output: expected one argument; see `prestow export --help`"),
    Row("run -d nginx", 125, err="prestow: run: no option -d: `run` waits for the process; …"),
    Row("run -v /srv:/srv nginx", 125, err=f"prestow: run: no option -v: {NO_VOLUMES}"),
    Row("run --rm -p 80:80 nginx", 125, err=f"prestow: run: no option -p: {NO_NETWORK}"),
    Row("run --network=host nginx", 125, err=f"prestow: run: no option --network: {NO_NETWORK}"),
    Row("run --entrypoint sh nginx", 125, err="prestow: run: no option --entrypoint: the image's entrypoint stays; …"),
    Row("images ls -a", 2, err="prestow: images ls: no option -a: all images are listed; leave it out"),
    Row("pull -a alpine", 2, err="prestow: pull: no option -a: pull each tag by its name; `prestow prepull` …"),
    Row("pull --tls-verify=false r.example/a", 2,
        err="prestow: pull: no option --tls-verify: set skip_verify in the hosts.toml of that registry"),
    Row("prune -af", 2, err="prestow: prune: no option -af: names stay unless a rule removes them, such as …"),
    Row("containers rm -f box", 2,
        err="prestow: containers rm: no option -f: stop the container first with `prestow containers stop`"),
    # pasted
    Row("pull docker://alpine:3.20", 2,
        err="prestow: argument REF: reference 'docker://alpine:3.20': leave out docker://; write alpine:3.20"),
    Row("pull https://host.example/team/app:1", 2,
        err="prestow: argument REF: reference …: leave out https://; write host.example/team/app:1"),
    Row("run --rm docker://alpine echo hi", 125,
        err="prestow: argument REF: reference 'docker://alpine': leave out docker://; write alpine"),
    Row("pull docker-daemon:alpine", 2,
        err="prestow: argument REF: reference 'docker-daemon:alpine': the transport docker-daemon is not supported; …"),
    Row("pull containers-storage:alpine", 2,
        err="prestow: argument REF: reference …: the transport containers-storage is not supported; …"),
    Row("pull dir:/srv/app", 2, err="prestow: argument REF: reference …: the transport dir is not supported; …"),
    Row("pull ./alpine.tar", 2,
        err="prestow: argument REF: reference …: a path is no reference; write oci:./alpine.tar, or docker-archive:…"),
    Row("pull --platform linux/amd65 alpine", 2,
        err="prestow: argument --platform: platform 'linux/amd65': unknown architecture 'amd65'; did you mean amd64?"),
    Row("pull --platform linus/amd64 alpine", 2,
        err="prestow: argument --platform: platform 'linus/amd64': unknown … 'linus'; did you mean linux?"),
]  # fmt: skip
"""Without a store: what is only said."""

DONE = [
    Row("pull oci:LAYOUT:demo", 0, "localhost/demo:latest @ sha256:…", "…"),
    Row("images ls", 0, "NAME … DIGEST … PLATFORM … SIZE … UPDATED"),
    Row("inspect demo", 0, "…localhost/demo:latest"),
    Row("images -q", 0, "sha256:…"),
    Row("pull -q oci:LAYOUT:demo", 0, "localhost/demo:latest@sha256:…"),
    Row("image inspect -q demo --format '{{.platform}}'", 0, "linux/…"),
    Row("export demo -o FOLDER/demo.tar", 0, "…", "…"),
    Row("export -q demo -o FOLDER/again.tar", 0, "localhost/demo:latest@sha256:…"),
    Row("export demo -o FOLDER/demo.tar", 4, err="…"),
    Row("run --rm demo exit 7", 7, "Hello from a prestowed image.", "…"),
    Row("run --name box -e GREETING=x -w / -u 0:0 demo ls --json --rm -e 9", 9, "Hello from a prestowed image.", "…"),
    Row("ps -q", 0, "box"),
    Row("ps -a", 0, "ID   IMAGE … STATUS … DRIVER … BUNDLE"),
    Row("containers ls --json", 0, "["),
    Row("rmi demo", 6, err="prestow: …box…"),
    Row("containers rm box", 0, "removed box"),
    Row("rmi demo", 0, "removed localhost/demo:latest"),
    Row("run --pull=never demo", 125, err="prestow: image docker.io/library/demo:latest is not in the store; …"),
]
"""In this order, on one store."""


def differs(row: Row, status: int, out: str, err: str) -> str:
    """Return what was found, if it is not what the row expects."""
    found = (status, *((text.splitlines() or [""])[0] for text in (out, err)))
    pattern = [re.escape(text).replace("…", ".*") for text in row[2:]]
    as_expected = found[0] == row.status and all(map(re.fullmatch, pattern, found[1:]))
    return "" if as_expected else f"{row}\n{found}"


@pytest.fixture
def typed(home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[[Row], str]:
    """A function that runs a row's command in this process, without a Prefect API, and returns what differs."""
    monkeypatch.setenv("PRESTOW_HOME", str(home))
    monkeypatch.setenv("PRESTOW_CONFIG", "")

    def run(row: Row) -> str:
        capfd.readouterr()
        try:
            status = main(shlex.split(row.line), here=True)
        except SystemExit as ended:  # argparse, after --help
            status = int(ended.code or 0)
        return differs(row, status, *capfd.readouterr())

    return run


def test_a_list_of_an_empty_store_is_asked_for_in_any_of_the_usual_ways(typed: Callable[[Row], str]) -> None:
    assert [wrong for row in EMPTY if (wrong := typed(row))] == []


@pytest.mark.parametrize("row", SAID, ids=lambda row: row.line)
def test_what_prestow_lacks_or_a_slip_of_the_pen_costs_one_line(
    typed: Callable[[Row], str], home: Path, row: Row
) -> None:
    assert typed(row) == ""
    assert not home.exists()


@pytest.mark.parametrize(
    "table", [VERBS, COMMON_OPTIONS, *SUB_VERBS.values(), *OPTIONS.values()],
    ids=["verbs", "options", *(f"{verb} SUB-VERB" for verb in SUB_VERBS), *OPTIONS],
)  # fmt: skip
def test_what_is_advised_instead_exists(table: dict[str, str]) -> None:
    for command in re.findall("`prestow ([^`]+)`", " ".join(table.values())):
        verb, words = parser(), command.split()
        while words[:1] and words[0] in verb.verbs:
            verb = verb.verbs[words.pop(0)]
        assert verb.prog != "prestow" or command in ("--help", "VERB --help"), command
        assert all(verb.option(word) for word in words if word.startswith("-")), command


def test_what_prestow_has_is_no_word_of_other_tools_only() -> None:
    assert VERBS.keys() & parser().verbs.keys() == set()


def test_an_image_is_pulled_run_and_removed_by_what_docker_s_users_type(
    called: Called, demo_layout: Path, tmp_path: Path
) -> None:
    for row in DONE:
        line = row.line.replace("LAYOUT", str(demo_layout)).replace("FOLDER", str(tmp_path))
        done = called(*shlex.split(line))
        assert differs(row, done.status, done.out, done.err) == ""
