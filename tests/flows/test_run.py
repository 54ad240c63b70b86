"""The flow ``run``: real containers, by runc."""

from pathlib import Path

import pytest

from flows.run import run
from prestow.errors import AlreadyExistsError, ContainerFailedError, NotFoundError
from prestow.store.node import open_node
from tests.prefect_records import events, flow_run_id
from tests.real_images import RealImages
from tests.registries import DockerRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")

TINY_SAYS = "uid=1000(app) gid=1000(app) groups=100(users),50(staff),1000(app)"


def test_tiny_says_what_its_config_asks_for(
    home: str, docker_registry: DockerRegistry, real_images: RealImages, capfd: pytest.CaptureFixture[str]
) -> None:
    reference = real_images.push(docker_registry, "tiny", "oci")

    ran = run(reference, rm=True, home=home)

    who, motd = capfd.readouterr().out.splitlines()[:2]
    assert who.startswith("uid=1000(app) gid=1000(app)")
    assert {"100(users)", "50(staff)"} <= set(who.partition("groups=")[2].split(","))
    assert motd == "two"
    assert (ran.status, ran.removed) == (0, True)


@pytest.mark.parametrize("driver", ["erofs", "overlay", "native"])
def test_the_exit_status_is_the_process_s(home: str, demo_layout: Path, driver: str) -> None:
    ran = run(f"oci:{demo_layout}:demo", args=("exit", "7"), rm=True, check=False, driver=driver, home=home)

    assert ran.status == 7


def test_a_process_that_fails_fails_its_run(home: str, demo_layout: Path) -> None:
    reference = f"oci:{demo_layout}:demo"

    state = run(reference, args=("exit", "7"), rm=True, id="box", home=home, return_state=True)
    with pytest.raises(ContainerFailedError) as raised:
        run(reference, args=("exit", "9"), rm=True, home=home)

    assert (state.name, state.message) == ("Failed", "container box: its process ended with status 7")
    assert raised.value.status == 9
    assert open_node(home).containers.list() == ()


def test_with_rm_nothing_stays_and_without_the_container_does(home: str, demo_layout: Path) -> None:
    run(f"oci:{demo_layout}:demo", rm=True, id="gone", home=home)
    run("demo", id="here", home=home)

    node = open_node(home)
    assert [record.id for record in node.containers.list()] == ["here"]
    assert [info.key for info in node.snapshots() if info.kind.value != "committed"] == ["here"]


def test_a_container_s_life_is_told_as_events(home: str, demo_layout: Path) -> None:
    state = run(f"oci:{demo_layout}:demo", rm=True, home=home, return_state=True)

    names = [event.event for event in events(flow_run_id(state), 18)]

    assert [n for n in names if n.split(".")[1] not in ("layer-fetched", "layer-stored", "layer-applied")] == [
        "prestow.resolved", "prestow.manifest-stored", "prestow.unpacked", "prestow.tagged",
        "prestow.config-transformed", "prestow.snapshot-created", "prestow.bundled", "prestow.running",
        "prestow.exited",
    ]  # fmt: skip


def test_an_unknown_user_fails_and_leaves_nothing(home: str, demo_layout: Path) -> None:
    with pytest.raises(NotFoundError, match="nobody-here"):
        run(f"oci:{demo_layout}:demo", user="nobody-here", home=home)

    assert open_node(home).containers.list() == ()


def test_with_rm_a_container_that_was_there_before_is_refused_and_stays(home: str, demo_layout: Path) -> None:
    run(f"oci:{demo_layout}:demo", id="mine", home=home)

    with pytest.raises(AlreadyExistsError, match="prestow containers rm mine"):
        run("demo", id="mine", rm=True, home=home)

    assert [record.id for record in open_node(home).containers.list()] == ["mine"]
