"""Images handed over to docker: to its containerd if it has the containerd image store, else an error that says how.

What docker answers is as docker 20.10 and 28 printed it; the containerd is a real one.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from prestow.errors import RuntimeFailedError, UnsupportedError
from prestow.handover.hand_over import hand_over
from prestow.handover.in_use import in_use
from prestow.handover.undo import undo
from prestow.oci.image import Image
from prestow.store.node import open_node
from tests.handover.conftest import ROOT, Host
from tests.pulling import NAME

pytestmark = ROOT

CLASSIC = {
    "ServerVersion": "20.10.24+dfsg1",
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["Supports d_type", "true"]],
}


def with_containerd(host: Host) -> dict[str, Any]:
    """What docker says that keeps its images in a host's containerd."""
    return {
        "ServerVersion": "28.5.2",
        "Driver": host.kind.snapshotter,
        "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]],
        "Containerd": {
            "Address": str(host.containerd.address),
            "Namespaces": {"Containers": "moby", "Plugins": "plugins.moby"},
        },
    }


_SCRIPT = """#!/bin/sh
if test "$1" = info; then exec cat "$0.info"; fi
{ctr} --namespace moby images ls |
  awk -v name="$3" '$1 == name {{ printf "[{{\\"Id\\": \\"%s\\"}}]", $3; found = 1 }} END {{ exit !found }}'
"""


class Docker:
    """The command line of a docker, whose images are those of a containerd."""

    def __init__(self, host: Host, path: Path) -> None:
        """Put it at ``path``."""
        self.path = path
        path.parent.mkdir()
        path.write_text(_SCRIPT.format(ctr=f"{host.containerd.programs}/ctr --address {host.containerd.address}"))
        path.chmod(0o755)

    def says(self, info: dict[str, Any]) -> None:
        """Let it say this of itself."""
        self.path.with_name("docker.info").write_text(json.dumps(info))

    def knows_nothing(self) -> None:
        """Let it know no image."""
        self.path.write_text(self.path.read_text().replace('"$3"', '"none"'))


@pytest.fixture
def docker(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """A docker on PATH."""
    found = Docker(host, tmp_path / "bin/docker")
    found.says(with_containerd(host))
    monkeypatch.setenv("PATH", str(found.path.parent), prepend=":")
    return found


def test_it_has_the_image_by_the_name_that_people_type(host: Host, demo: Image, docker: Docker) -> None:
    given = hand_over(host.node, NAME, demo, "docker")

    assert (given.runtime, given.namespace, given.form) == ("docker 28.5.2", "moby", host.kind.form)
    assert host.containerd.ctr("images", "ls", "-q", namespace="moby").split() == [NAME]
    look, (found,) = in_use(host.node, [NAME], "docker")
    assert (look.runtime, look.snapshotter, found.in_use, found.handed_over) == (
        "docker", host.kind.snapshotter, True, True,
    )  # fmt: skip
    (taken,) = undo(host.node, [NAME])
    assert taken.names == (NAME,)


def test_an_image_that_docker_does_not_know_is_not_in_use(host: Host, demo: Image, docker: Docker) -> None:
    docker.knows_nothing()

    with pytest.raises(RuntimeFailedError, match="docker does not know"):
        hand_over(host.node, NAME, demo, "docker")


def test_its_older_store_is_refused_with_the_way_that_works(host: Host, demo: Image, docker: Docker) -> None:
    docker.says(CLASSIC)

    with pytest.raises(UnsupportedError, match=r"overlay2.*containerd-snapshotter.*docker load"):
        hand_over(host.node, NAME, demo, "docker")


def test_a_daemon_that_is_away_is_said_in_its_own_words(host: Host, demo: Image, docker: Docker) -> None:
    docker.says({"ServerErrors": ["Cannot connect to the Docker daemon at unix:///var/run/docker.sock."]})

    with pytest.raises(RuntimeFailedError, match="Cannot connect to the Docker daemon"):
        hand_over(host.node, NAME, demo, "docker")


def test_without_docker_it_is_said_what_is_missing(host: Host, demo: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prestow.runtime.defaults.PATH", "/nonexistent")
    monkeypatch.setenv("PATH", "/nonexistent")
    node = open_node(host.node.home)

    with pytest.raises(UnsupportedError, match="docker is not installed"):
        hand_over(node, NAME, demo, "docker")
