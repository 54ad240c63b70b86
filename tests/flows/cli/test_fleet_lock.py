"""``fleet lock`` against a real registry, with skopeo as the witness: what is locked, what stays, what a check says."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

from flows.cli.main import main
from flows.rollout.workers import COORDINATOR, POOL
from prestow.fleet.document import read
from prestow.fleet.lock import Lock
from prestow.platforms import host
from prestow.store.node import open_node
from tests.flows.cli.conftest import PROJECT, Called, Done, Prestow
from tests.image_factory import write_image
from tests.registries import DockerRegistry, Fault, FaultRegistry
from tests.tar_builder import Tar

OWN = str(host())
Fleet = Callable[..., Done]


@pytest.fixture
def fleet(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Fleet:
    """The verb, called in this process, on ``fleet.yaml`` in the test's directory; it needs no Prefect."""
    for name, value in {"HOME": home, "CONFIG": "", "COLD": "1", "FLEET": tmp_path / "fleet.yaml"}.items():
        monkeypatch.setenv(f"PRESTOW_{name}", str(value))

    def call(*arguments: str) -> Done:
        capfd.readouterr()
        status = main(["fleet", *arguments])
        out, err = capfd.readouterr()
        return Done(status, out, err)

    return call


def write(folder: Path, images: list[str], listed: str = "{name: a, platform: linux/amd64}", **more: object) -> None:
    sets = {"nightly": {"images": images, **more}}
    (folder / "fleet.yaml").write_text(f"hosts: [{listed}]\nsets: {json.dumps(sets)}\n")


def locked(folder: Path) -> Lock:
    return read(folder / "fleet.lock.yaml", Lock)


def skopeo(*arguments: str) -> bytes:
    return subprocess.run(
        ["skopeo", "inspect", "--tls-verify=false", *arguments], check=True, capture_output=True
    ).stdout


def digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"


@pytest.fixture
def name(docker_registry: DockerRegistry, request: pytest.FixtureRequest) -> str:
    """A repository of the test's own."""
    return f"{docker_registry.domain}/{hashlib.sha256(request.node.name.encode()).hexdigest()[:16]}/app"


@pytest.fixture
def push(docker_registry: DockerRegistry, demo_layout: Path, name: str, tmp_path: Path) -> Callable[..., str]:
    """Push the demo image, or another one with this content, as a tag of the test's repository."""

    def pushed(version: str, content: str = "") -> str:
        layout, ref = demo_layout, "demo"
        if content:
            layout, ref = tmp_path / f"layout-{content}", "test"
            write_image(layout, [Tar().file("f", content.encode()).to_bytes()], ref=ref)
        return docker_registry.push(layout, ref, f"{name.partition('/')[2]}:{version}")

    return pushed


def test_a_lock_is_what_another_tool_finds(fleet: Fleet, push: Callable[..., str], name: str, tmp_path: Path) -> None:
    for version in ("1.8.3", "1.8.10", "1.9.0-rc.1", "latest"):
        push(version)
    write(tmp_path, [f"{name}:1.8.*"], "{name: a, platform: linux/arm64}, {name: b, platform: linux/x86_64}")

    done = fleet("lock")

    (image,) = locked(tmp_path).sets["nightly"].images
    raw = skopeo("--raw", f"docker://{name}:1.8.10")
    assert (done.status, image.reference, image.name) == (0, f"{name}:1.8.*", f"{name}:1.8.10")
    assert image.digest == digest(raw)
    assert list(image.platforms) == ["linux/amd64", "linux/arm64"]
    for entry in json.loads(raw)["manifests"]:
        found = image.platforms[f"linux/{entry['platform']['architecture']}"]
        pinned = f"docker://{name}@{entry['digest']}"
        layers = json.loads(skopeo("--raw", pinned))["layers"]
        assert found.digest == entry["digest"]
        assert [(layer.digest, layer.size) for layer in found.layers] == [(at["digest"], at["size"]) for at in layers]
        arch = entry["platform"]["architecture"]
        config = json.loads(skopeo("--config", f"--override-arch={arch}", f"docker://{name}:1.8.10"))
        assert [layer.diff_id for layer in found.layers] == config["rootfs"]["diff_ids"]
    assert "image set nightly: 2 hosts, for linux/amd64, linux/arm64\n" in done.err
    assert f"{name}:1.8.*: {name}:1.8.10 is {image.digest}\n" in done.err


def test_only_documents_are_fetched(fleet: Fleet, fault_registry: FaultRegistry, home: Path, tmp_path: Path) -> None:
    write(tmp_path, [f"{fault_registry.own}/app:demo"])

    assert fleet("lock").status == 0

    (image,) = locked(tmp_path).sets["nightly"].images
    layers = {layer.digest for layer in image.platforms["linux/amd64"].layers}
    assert not any(seen.path.rpartition("/")[2] in layers for seen in fault_registry.seen)
    assert open_node(str(home)).images.list() == ()


def test_a_tag_that_moves_stays_locked_until_it_is_updated(
    fleet: Fleet, push: Callable[..., str], name: str, tmp_path: Path
) -> None:
    push("1", "one")
    push("2", "one")
    write(tmp_path, [f"{name}:1", f"{name}:2"])
    fleet("lock")
    before = (tmp_path / "fleet.lock.yaml").read_bytes()
    push("1", "two")
    push("2", "two")
    now = digest(skopeo("--raw", f"docker://{name}:1"))

    again = fleet("lock")
    assert (again.status, again.out) == (0, f"{tmp_path / 'fleet.lock.yaml'} is up to date\n")
    check = fleet("lock", "--check", "--json")
    assert (tmp_path / "fleet.lock.yaml").read_bytes() == before
    assert check.status == 1
    assert [(each["reference"], each["change"], each["after"]["digest"]) for each in check.document["changes"]] == [
        (f"{name}:1", "moved", now), (f"{name}:2", "moved", now)
    ]  # fmt: skip

    some = fleet("lock", "--update", f"{name}:2")
    assert some.out.splitlines()[0].split() == ["SET", "GENERATION", "IMAGE", "CHANGE", "FROM", "TO"]
    row = some.out.splitlines()[1].split()
    assert row[:6] == ["nightly", "1", "->", "2", f"{name}:2", "moved"]
    assert row[-1] == now
    every = fleet("lock", "--update", "--json").document
    assert every["written"]
    assert every["generations"] == {"nightly": 3}
    assert [each["reference"] for each in every["changes"]] == [f"{name}:1"]
    assert (fleet("lock", "--check").status, fleet("lock", "--update", "--json").document["written"]) == (0, False)


def test_the_lock_changes_by_the_lines_of_the_image_that_moved(
    fleet: Fleet, push: Callable[..., str], name: str, tmp_path: Path
) -> None:
    for version in ("1", "2", "3"):
        push(version, "one")
    write(tmp_path, [f"{name}:{version}" for version in "123"])
    fleet("lock")
    before = (tmp_path / "fleet.lock.yaml").read_text().splitlines()
    push("2", "two")

    fleet("lock", "--update", f"{name}:2")

    after = (tmp_path / "fleet.lock.yaml").read_text().splitlines()
    changed = [at for at, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    start = next(at for at, line in enumerate(after) if line.endswith(f"{name}:2"))
    assert after[changed[0]].strip() == "generation: 2"
    assert start < changed[1] <= changed[-1] < next(at for at, line in enumerate(after) if line.endswith(f"{name}:3"))


def test_a_digest_is_locked_as_it_is_written(fleet: Fleet, push: Callable[..., str], name: str, tmp_path: Path) -> None:
    push("1", "one")
    pinned = digest(skopeo("--raw", f"docker://{name}:1"))
    push("1", "two")
    write(tmp_path, [f"{name}:1@{pinned}", f"{name}@{pinned}"])

    fleet("lock")

    tagged, bare = locked(tmp_path).sets["nightly"].images
    assert (tagged.name, tagged.digest, tagged.pinned) == (f"{name}:1", pinned, f"{name}:1@{pinned}")
    assert (bare.name, bare.digest) == (f"{name}@{pinned}", pinned)
    assert fleet("lock", "--check").status == 0


def test_a_check_fails_while_the_lock_does_not_fit_the_file(
    fleet: Fleet, fault_registry: FaultRegistry, tmp_path: Path
) -> None:
    name = f"{fault_registry.own}/app"
    write(tmp_path, [f"{name}:demo"])
    assert fleet("lock", "--check").status == 1
    assert not (tmp_path / "fleet.lock.yaml").exists()
    fleet("lock")

    for hosts, images, change in (
        ("{name: a, platform: linux/arm64}", [f"{name}:demo"], "platforms"),
        ("{name: a, platform: linux/amd64}", [f"{name}:demo", f"{name}:more"], "added"),
    ):
        write(tmp_path, images, hosts)
        done = fleet("lock", "--check", "--json")
        assert (done.status, [each["change"] for each in done.document["changes"]]) == (1, [change])


def test_the_platform_of_this_machine_is_taken_and_named_where_a_host_has_none(
    fleet: Fleet, fault_registry: FaultRegistry, tmp_path: Path
) -> None:
    write(tmp_path, [f"{fault_registry.own}/app:demo"], "{name: a}, {name: b, platform: linux/arm64}")

    done = fleet("lock")

    assert set(locked(tmp_path).sets["nightly"].images[0].platforms) == {OWN, "linux/arm64"}
    assert f"1 of them name no platform, for which this host's, {OWN}, is taken" in done.err


@pytest.mark.parametrize(
    ("images", "more", "status", "said"),
    [
        (["{}/app:absent"], {}, 3, "image set nightly: image {}/app:absent: "),
        (["{}/app:9.*"], {}, 3, "it has 1.8.4, demo; correct the tag in the fleet file"),
        (["{}/app:demo"], {"registries": ["ghcr.io"]}, 6, "comes from none of the set's registries (ghcr.io)"),
        (["{}/app:demo"], {"hosts": {"labels": {"role": "gpu"}}}, 3, "none of 1 hosts matches role=gpu"),
        (["{}/app:demo", "{}/sealed:1"], {}, 7, "image set nightly: image {}/sealed:1: "),
    ],
)
def test_nothing_is_written_where_one_image_fails(
    fleet: Fleet, fault_registry: FaultRegistry, tmp_path: Path,
    images: list[str], more: dict[str, object], status: int, said: str,
) -> None:  # fmt: skip
    fault_registry.on("/tags/list", Fault(status=200, body=b'{"tags": ["demo", "1.8.4"]}'))
    fault_registry.on("/sealed/", Fault(status=403))
    own = fault_registry.own
    write(tmp_path, [f"{own}/app:demo"])
    fleet("lock")
    before = (tmp_path / "fleet.lock.yaml").read_bytes()
    write(tmp_path, [image.format(own) for image in images], **more)

    done = fleet("lock", "--update")

    assert (done.status, done.out) == (status, "")
    assert said.format(own) in done.err.splitlines()[-1]
    assert (tmp_path / "fleet.lock.yaml").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*fleet*")) == ["fleet.lock.yaml", "fleet.yaml"]


def test_an_image_for_another_platform_is_an_error_that_names_both(
    fleet: Fleet, fault_registry: FaultRegistry, tmp_path: Path
) -> None:
    write(tmp_path, [f"{fault_registry.own}/app:demo"], "{name: a, platform: linux/riscv64}")

    done = fleet("lock")

    assert done.status == 3
    assert f"image set nightly: image {fault_registry.own}/app:demo: " in done.err
    assert "linux/riscv64" in done.err


def test_a_registry_that_is_busy_is_asked_again(fleet: Fleet, fault_registry: FaultRegistry, tmp_path: Path) -> None:
    fault_registry.on("/manifests/", Fault(status=503), times=1)
    write(tmp_path, [f"{fault_registry.own}/app:demo"])

    done = fleet("lock")

    assert done.status == 0
    assert "asks again in" in done.err


def test_a_lock_with_the_marks_of_a_merge_is_not_overwritten(fleet: Fleet, tmp_path: Path) -> None:
    write(tmp_path, ["app:1"])
    (tmp_path / "fleet.lock.yaml").write_text("version: 1\n<<<<<<< ours\nsets: {}\n")

    done = fleet("lock")

    assert (done.status, done.out) == (2, "")
    assert "fleet.lock.yaml:" in done.err
    assert "restore the lock, from git for example" in done.err
    assert "<<<<<<<" in (tmp_path / "fleet.lock.yaml").read_text()


def test_only_one_of_check_and_update_is_taken(fleet: Fleet, tmp_path: Path) -> None:
    done = fleet("lock", "--check", "--update")

    assert (done.status, done.out) == (2, "")
    assert "not allowed with" in done.err


def test_locking_imports_no_prefect(alone: Prestow, fault_registry: FaultRegistry, tmp_path: Path) -> None:
    write(tmp_path, [f"{fault_registry.own}/app:demo"])
    program = (
        "import sys; from flows.cli.main import main; "
        f"status = main(['fleet', 'lock', '--file', {str(tmp_path / 'fleet.yaml')!r}]); "
        "sys.exit(status or 'prefect' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=PROJECT, env=alone.environment, check=False)

    assert done.returncode == 0
    assert yaml.safe_load((tmp_path / "fleet.lock.yaml").read_text())["sets"]["nightly"]["generation"] == 1


def test_hosts_are_listed_with_the_sets_that_select_them(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(
        "hosts: [{name: b, labels: {role: gpu}}, {name: a, platform: linux/arm64}]\n"
        "sets: {all: {images: [app:1]}, gpu: {images: [app:1], hosts: {labels: {role: gpu}}}}\n"
    )

    assert fleet("hosts").out.splitlines()[1:] == [
        "b     role=gpu  -            all, gpu", "a     -         linux/arm64  all"
    ]  # fmt: skip
    assert fleet("hosts", "gpu", "--json").document == [
        {"name": "b", "labels": {"role": "gpu"}, "platform": None, "sets": ["all", "gpu"]}
    ]
    assert (fleet("hosts", "bogus").status, fleet("hosts", "bogus").err) == (
        3, "prestow: image set bogus: the fleet file has none of that name; it has all, gpu\n"
    )  # fmt: skip


def test_workers_of_the_pool_are_hosts(called: Called, fault_registry: FaultRegistry, tmp_path: Path) -> None:
    with get_client(sync_client=True) as client, suppress(ObjectAlreadyExists):
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
    with get_client(sync_client=True) as client:
        for worker in ("lock-01", "lock-02", COORDINATOR):
            beat = {"name": worker, "heartbeat_interval_seconds": 30}
            client._client.post(f"/work_pools/{POOL}/workers/heartbeat", json=beat).raise_for_status()
    workers = "{workers: true, labels: {from: pool}, platform: linux/amd64}, {name: lock-02, platform: linux/arm64}"
    write(tmp_path, [f"{fault_registry.own}/app:demo"], workers, hosts={"names": ["lock-*", COORDINATOR]})
    file = f"--file={tmp_path / 'fleet.yaml'}"

    hosts = called("fleet", "hosts", "nightly", file, "--json").document
    assert called("fleet", "lock", file).status == 0

    assert [(each["name"], each["labels"]) for each in hosts] == [("lock-02", {}), ("lock-01", {"from": "pool"})]
    assert set(locked(tmp_path).sets["nightly"].images[0].platforms) == {"linux/amd64", "linux/arm64"}


@pytest.mark.parametrize("line", ["lock", "hosts", "lock --check"])
def test_a_missing_fleet_file_says_how_to_name_one(fleet: Fleet, tmp_path: Path, line: str) -> None:
    done = fleet(*line.split())

    assert (done.status, done.out) == (3, "")
    assert done.err.endswith(
        "fleet.yaml: there is no such file; write one, or name another with --file or PRESTOW_FLEET\n"
    )


def test_the_schema_is_printed(fleet: Fleet) -> None:
    found: Any = fleet("schema").document

    assert found == fleet("schema", "--json").document
    assert set(found["properties"]) == {"hosts", "sets"}
