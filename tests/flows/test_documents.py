"""README, tutorial and how-tos, typed command by command on one machine: the installed wheel, a registry, a server."""

import json
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flows.local_server.ensure import Server, environment
from tests.artifacts import helm_chart
from tests.documents import Typed, Typist, documents, shown, strangers, typed
from tests.image_factory import put_image, tag
from tests.processes import Child
from tests.registries import PASSWORD, USER, docker_registry
from tests.tar_builder import Tar
from tests.wheels import ROOT, Installed

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]

IMAGES = {
    "alpine": ("library/alpine:3.20",),
    "debian": ("library/debian:bookworm", "library/ubuntu:24.04"),
    "app": ("team/app:1.0", "team/app:2", "team/app:3", "app:2"),
    "chart": ("charts/app:1.0.0",),
}
"""What the registry has, by the ref in the layout; it answers for docker.io and for registry.example."""

TUTORIAL = "tutorial/first-image.md"
_FLEET = "needs hosts and a coordinator: tests/flows/test_howtos.py has them"
OTHERS = {
    "how-to/add-a-host.md": "a worker does not end: tests/flows/cli/test_node.py starts and ends some",
    "how-to/complete-in-your-shell.md": "writes into /etc: tests/flows/cli/test_completion.py asks the shells",
    "how-to/hand-images-to-docker.md": "needs Docker: tests/flows/cli/test_hand_over.py has its containerd",
    "how-to/hand-images-to-kubernetes.md": "needs a containerd: tests/flows/cli/test_hand_over.py has one",
    "how-to/hand-images-to-podman.md": "changes /etc: tests/flows/cli/test_hand_over_to_podman.py has a podman",
    "how-to/roll-back.md": _FLEET,
    "how-to/roll-out-with-approval.md": _FLEET,
    "how-to/your-first-fleet.md": _FLEET,
}
"""Documents that are not typed here, and why."""

NOT_HERE = {
    "make demo": "needs a checkout: the pipeline types it",
    "pip install prestow": "the fixture has installed it, from this checkout",
    "prestow deploy": "other tests use the same server: tests/flows/test_deployments.py",
    "prestow hand-over": "needs a runtime: tests/flows/cli/test_hand_over.py has one",
    "prestow in-use": "likewise",
    "prestow serve": "does not end: the fixture starts it, and ends it",
    "prestow login": "asks on a terminal: tests/flows/cli/test_login.py has one",
    "cat /run/secrets/registry": "likewise",
    "export HTTPS_PROXY": "a registry on loopback is asked directly: tests/flows/cli/test_proxies.py has a proxy",
}
"""Commands that are not typed here, by how they begin, and why."""

_SECRET = "from prefect.blocks.system import Secret; Secret(value='sesame').save('prod-db', overwrite=True)"
_BEFORE = {
    "how-to/free-disk-space.md": "prestow bundle alpine:3.20 /run/demo --id my-work --driver overlay",
    "how-to/give-a-container-secrets.md": f'export DB_PASSWORD=a PROD_DB_PASSWORD=b; python -c "{_SECRET}"',
}
"""What a host of these documents has that others need not have."""
_SERVED = ("10.0.0.5:5000", "127.0.0.1:5000")


@dataclass(frozen=True)
class Host:
    """A machine with an installed prestow, where docker.io and registry.example are a registry on loopback."""

    installed: Installed
    folder: Path
    env: dict[str, str] = field(repr=False)
    replaced: dict[str, str]

    def typist(self, home: Path, scratch: Path, api: dict[str, str]) -> Typist:
        """Return a person who works on a store, with files in ``scratch``."""
        scratch.mkdir()
        (scratch / "secret").write_text("sesame\n")
        places = {
            **dict.fromkeys(("/var/lib/prestow", "/srv/store", "/tmp/prestow"), home),
            **dict.fromkeys(("/run/token", "/run/secrets/db"), scratch / "secret"),
            "/run/demo": scratch / "demo",
            "./demo": scratch / "copy",
            "/tmp/app": scratch / "app",
            "/media/stick": scratch,
        }
        variables = {**self.env, "HOME": str(scratch), "PRESTOW_HOME": str(home), **api}
        replaced = {**self.replaced, **{before: str(after) for before, after in places.items()}}
        return Typist(variables, strangers(scratch / "programs"), replaced)


@pytest.fixture(scope="module")
def host(installed: Installed, prefect_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """Yield the machine; its registry wants the password that is in its file of logins."""
    folder = tmp_path_factory.mktemp("host")
    layout = folder / "layout"
    for ref in ("alpine", "debian", "app"):
        image = put_image(layout, [layer(ref)], config={"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]})
        tag(layout, image, ref)
    app = image.digest
    tag(layout, helm_chart(layout), "chart")
    login = {"auth": b64encode(f"{USER}:{PASSWORD}".encode()).decode()}
    env = {
        **installed.environment,
        "PRESTOW_COLD": "0",
        "PRESTOW_CONFIG": "",
        "PRESTOW_HOSTS_DIRS": json.dumps([str(folder / "hosts")]),
        "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
    }
    replaced = {
        "sha256:9824c27679d3": str(app)[:19],
        "erofs/my-work": "overlay/my-work",
        "pass show db": "cat /run/token",
        'username="me", password=getpass()': f'username="{USER}", password="{PASSWORD}"',
    }
    with docker_registry(folder / "registry", password=True) as registry:
        (folder / "auth.json").write_text(json.dumps({"auths": {registry.domain: login}}))
        for ref, names in IMAGES.items():
            for each in names:
                registry.push(layout, ref, each)
        for domain in ("docker.io", "registry.example"):
            (folder / "hosts" / domain).mkdir(parents=True)
            (folder / "hosts" / domain / "hosts.toml").write_text(f'server = "http://{registry.domain}"\n')
        found = Host(installed, folder, env, replaced)
        pulled = "prestow prepull alpine:3.20 debian:bookworm team/app:2 team/app:3 registry.example/app:2"
        found.typist(folder / "store", folder / "first", environment(prefect_server)).types([Typed(pulled)])
        yield found


def layer(ref: str) -> bytes:
    """Return a layer with a shell, and a program ``app``."""
    tar = Tar().directory("bin").directory("etc").file("bin/busybox", Path("/bin/busybox").read_bytes(), mode=0o755)
    for program in ("sh", "echo", "id", "true", "env"):
        tar.symlink(f"bin/{program}", "busybox")
    tar.file("bin/app", b'#!/bin/sh\ntest -n "$DB_PASSWORD"\n', mode=0o755)
    return tar.file("etc/passwd", b"root:x:0:0:root:/:/bin/sh\n").file("etc/release", ref.encode()).to_bytes()


def name(document: Path) -> str:
    return str(document.relative_to(ROOT if document.parent == ROOT else ROOT / "docs"))


def here(document: Path) -> list[Typed]:
    """Return what is typed here of a document."""
    return [
        each for each in typed(document)
        if not each.text.startswith(tuple(NOT_HERE)) and ".serve(" not in each.text
    ]  # fmt: skip


@contextmanager
def served(typist: Typist) -> Iterator[str]:
    """Serve a store on loopback for the block, and give the address."""
    command = ["prestow", "serve", "--json", "--listen", "127.0.0.1:0"]
    with Child(command, cwd="/", env=typist.env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        lines = iter(child.stdout.readline, "}\n")
        yield json.loads("".join(lines) + "}")["listen"]
        child.terminate()


@pytest.mark.parametrize("document", [each for each in documents() if name(each) not in {*OTHERS, TUTORIAL}], ids=name)
def test_what_a_document_tells_to_type_works(
    document: Path, host: Host, home: str, tmp_path: Path, prefect_server: Server
) -> None:
    subprocess.run(["cp", "-a", host.folder / "store", home], check=True)
    typist = person = host.typist(Path(home), tmp_path / "here", environment(prefect_server))
    commands = [*(Typed(each) for at, each in _BEFORE.items() if at == name(document)), *here(document)]
    with ExitStack() as around:
        serves = [each.text.startswith("prestow serve") for each in typed(document)]
        if any(serves):
            if serves[0]:  # the rest is typed at another host
                person = host.typist(tmp_path / "other", tmp_path / "there", environment(prefect_server))
            person.replaced.update(dict.fromkeys(_SERVED, around.enter_context(served(typist))))
        person.types(commands)


def test_the_tutorial_prints_what_it_shows(host: Host, home: str, tmp_path: Path) -> None:
    typist = host.typist(Path(home), tmp_path / "here", {})
    try:
        typist.types(here(ROOT / "docs" / TUTORIAL))
    finally:
        typist.types([Typed("prestow server stop")])


def test_what_is_not_typed_is_still_in_the_documents() -> None:
    texts = [each.text for document in documents() for each in typed(document)]

    assert {name(document) for document in documents()} >= set(OTHERS)
    assert [begin for begin in NOT_HERE if not any(text.startswith(begin) for text in texts)] == []


def test_figures_may_differ_and_words_may_not() -> None:
    assert shown("fetched 3 MiB in 2.1 s\nA    B") == shown("fetched 1021 B in 12 ms\nA  B")
    assert shown("fetched 3 MiB") != shown("reused 3 MiB")
    assert shown("status 7") != shown("status 8")
