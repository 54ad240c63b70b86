"""What an image config may try, by the rows of the threat table (D-01 to D-18), and what comes of it."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import InvalidError, NotFoundError, PrestowError
from prestow.oci.image_config import ImageConfig, ProcessConfig
from prestow.platforms import Platform, host
from prestow.runtime.annotations import RESERVED_PREFIXES, annotations
from prestow.runtime.overrides import Overrides
from prestow.runtime.rootfs import DirectoryRoot
from prestow.runtime.spec import Mount
from prestow.runtime.transform import transform_config
from tests.runtime.busybox import make_rootfs, make_spec


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    return make_rootfs(tmp_path / "rootfs")


LONG = "x" * (128 << 10)


@pytest.mark.parametrize(
    "process",
    [
        pytest.param({"Env": ["BAD"]}, id="D-01 no equals"),
        pytest.param({"Env": ["=x"]}, id="D-01 no name"),
        pytest.param({"Env": [""]}, id="D-01 empty"),
        pytest.param({"Env": ["A=\0"]}, id="D-01 NUL"),
        pytest.param({"Env": [1]}, id="D-01 number"),
        pytest.param({"Env": [f"A{n}=" for n in range(300_000)]}, id="D-01 many"),
        pytest.param({"Env": [f"A={LONG}"]}, id="D-01 long"),
        pytest.param({"Env": [f"A{n}={LONG[:-9]}" for n in range(20)]}, id="D-01 long in all"),
        pytest.param({"Cmd": "sh"}, id="D-03 string"),
        pytest.param({"Cmd": [1]}, id="D-03 number"),
        pytest.param({"Cmd": None}, id="D-03 none"),
        pytest.param({"Cmd": [], "Entrypoint": []}, id="D-03 empty"),
        pytest.param({"Cmd": [""]}, id="D-03 empty name"),
        pytest.param({"Cmd": ["a\0b"]}, id="D-03 NUL"),
        pytest.param({"Cmd": ["a", LONG]}, id="D-03 long"),
        pytest.param({"User": "4294967296"}, id="D-04 beyond 32 bits"),
        pytest.param({"User": ":0"}, id="D-04 no user"),
        pytest.param({"User": "root:../../"}, id="D-04 path"),
        pytest.param({"WorkingDir": "/proc/self/fd/7"}, id="D-08 descriptor"),
        pytest.param({"WorkingDir": "proc/../proc/self/fd/7/../../../etc"}, id="D-08 hidden"),
        pytest.param({"WorkingDir": "/dev/fd/7"}, id="D-08 device"),
        pytest.param({"WorkingDir": "/sneak"}, id="D-08 link"),
        pytest.param({"WorkingDir": "/loop/x"}, id="D-08 loop"),
        pytest.param({"WorkingDir": "/a\0b"}, id="D-08 NUL"),
        pytest.param({"WorkingDir": "/" + "a" * 300}, id="D-08 long name"),
        pytest.param({"Volumes": {f"/v{n}": {} for n in range(10_000)}}, id="D-09 many"),
        pytest.param({"Labels": {"": "x"}}, id="D-11 empty key"),
        pytest.param({"Labels": {f"l{n}": "" for n in range(100_000)}}, id="D-11 many"),
        pytest.param({"Labels": {"l": "x" * (2 << 20)}}, id="D-11 large"),
    ],
)
def test_a_config_that_could_do_harm_is_refused(rootfs: Path, process: dict[str, Any]) -> None:
    (rootfs / "sneak").symlink_to("/proc/self/fd/7")
    (rootfs / "loop").symlink_to("loop")

    with pytest.raises(InvalidError):
        make_spec(rootfs, process)


@pytest.mark.parametrize("path", ["", "/", "//", "/.", "/proc", "/proc/x", "/sys", "/dev", "/dev/shm/", "../x", "rel"])
def test_a_volume_in_a_reserved_place_is_left_out(rootfs: Path, path: str) -> None:
    spec = make_spec(rootfs, {"Volumes": {path: {}, "/data": {}}})

    destinations = [mount["destination"] for mount in spec.document["mounts"] if mount["type"] == "tmpfs"]
    assert destinations == ["/dev", "/data", "/dev/shm"]
    assert len(spec.warnings) == 1


@pytest.mark.parametrize("target", ["/", "/proc", "../../../sys", "dev/shm", "/proc/self/root"])
def test_a_volume_that_a_link_leads_to_a_reserved_place_is_left_out(rootfs: Path, target: str) -> None:
    (rootfs / "volume").symlink_to(target)

    spec = make_spec(rootfs, {"Volumes": {"/volume": {}}})

    assert "/volume" not in str(spec.document["mounts"])
    assert len(spec.warnings) == 1


def test_a_volume_is_an_empty_tmpfs_with_the_owner_of_its_directory(rootfs: Path) -> None:
    (rootfs / "var/lib/db").mkdir(parents=True)
    (rootfs / "var/lib/db").chmod(0o1750)
    os.chown(rootfs / "var/lib/db", 999, 998)

    spec = make_spec(rootfs, {"Volumes": {"/var/lib/db/": {}}})

    assert spec.document["mounts"][-1] == {
        "destination": "/var/lib/db",
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "nodev", "mode=1750", "uid=999", "gid=998"],
    }


def test_a_volume_with_data_of_the_image_stays_in_the_snapshot(rootfs: Path) -> None:
    spec = make_spec(rootfs, {"Volumes": {"/etc": {}, "/etc/passwd": {}}})

    assert "/etc" not in [mount["destination"] for mount in spec.document["mounts"]]
    assert ["data" in warning for warning in spec.warnings] == [True, False]


def test_an_operator_replaces_or_declines_a_volume(rootfs: Path) -> None:
    bind = Mount("/data/", "bind", "/srv", ("rbind",))

    replaced = make_spec(rootfs, {"Volumes": {"/data": {}}}, Overrides(mounts=(bind, Mount("/dev/shm", "bind", "/x"))))
    declined = make_spec(rootfs, {"Volumes": {"/data": {}}}, Overrides(volumes="rootfs"))

    by_destination = {mount["destination"]: mount["source"] for mount in replaced.document["mounts"]}
    assert by_destination["/data"] == "/srv"
    assert by_destination["/dev/shm"] == "/x"
    assert "/data" not in str(declined.document["mounts"])


def test_parents_are_mounted_before_their_children(rootfs: Path) -> None:
    own = (Mount("/a/b/c", "tmpfs", "t"), Mount("/a", "tmpfs", "t"))

    spec = make_spec(rootfs, {"Volumes": {"/a/b": {}}}, Overrides(mounts=own))

    order = [mount["destination"] for mount in spec.document["mounts"]]
    assert order.index("/a") < order.index("/a/b") < order.index("/a/b/c")
    assert order.index("/dev") < order.index("/dev/pts")
    assert order.index("/sys") < order.index("/sys/fs/cgroup")


@pytest.mark.parametrize("name", ["dev", "proc", "sys"])
@pytest.mark.parametrize("kind", ["link", "dangling", "file"])
def test_a_link_or_a_file_where_the_runtime_mounts_is_refused(rootfs: Path, name: str, kind: str) -> None:
    if kind == "file":
        (rootfs / name).touch()
    else:
        (rootfs / name).symlink_to("/etc" if kind == "link" else "/nowhere")

    with pytest.raises(InvalidError, match=f"/{name} is a"):
        make_spec(rootfs)


def test_directories_where_the_runtime_mounts_are_fine(rootfs: Path) -> None:
    for name in ("dev", "proc", "sys"):
        (rootfs / name).mkdir()

    assert make_spec(rootfs).warnings == ()


def test_the_hosts_resolver_files_do_not_go_through_links(rootfs: Path) -> None:
    (rootfs / "etc/resolv.conf").symlink_to("../run/resolv.conf")
    (rootfs / "etc/hosts").touch()

    spec = make_spec(rootfs, {}, Overrides(network="host"))

    destinations = [mount["destination"] for mount in spec.document["mounts"]]
    assert "/etc/hosts" in destinations
    assert "/etc/resolv.conf" not in destinations
    assert len(spec.warnings) == 1
    assert {"type": "network"} not in spec.document["linux"]["namespaces"]


def test_a_user_of_the_host_is_none_of_the_images(rootfs: Path) -> None:
    (rootfs / "etc/passwd").unlink()
    (rootfs / "etc/passwd").symlink_to("/etc/passwd")

    with pytest.raises(InvalidError, match="cannot be followed"):
        make_spec(rootfs, {"User": "daemon"})

    (rootfs / "etc/passwd").unlink()
    (rootfs / "etc/passwd").symlink_to("/usr/share/passwd")
    with pytest.raises(NotFoundError):
        make_spec(rootfs, {"User": "daemon"})


HOSTILE_LABELS = [
    *("run.oci.hooks.stdout", "run.oci.seccomp.plugins", "run.oci.seccomp_bpf_data", "run.oci.handler"),
    *("run.oci.keep_original_groups", "org.criu.config", "org.systemd.property.ExecStop", "krun.ram_mib"),
    *("containerd.io/restart.logpath", "io.containerd.x", "io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.x"),
    *("io.katacontainers.config.hypervisor.path", "cdi.k8s.io/gpu", "dev.gvisor.flag", "module.wasm.image/variant"),
]


@pytest.mark.parametrize("label", HOSTILE_LABELS)
def test_a_label_that_a_runtime_obeys_is_left_out_unless_the_operator_sets_it(rootfs: Path, label: str) -> None:
    labels = {label: "x", "org.criu": "kept", "io.kubernetes.display-name": "kept"}

    spec = make_spec(rootfs, {"Labels": labels})
    wished = make_spec(rootfs, {"Labels": labels}, Overrides(annotations={label: "mine"}))

    assert label not in spec.document["annotations"]
    assert spec.document["annotations"]["org.criu"] == "kept"
    assert len(spec.warnings) == 1
    assert wished.document["annotations"][label] == "mine"


@pytest.mark.parametrize("stop_signal", ["SIGKILL;rm", "9999", "0", "65", "SIG15", "SIGRTMIN+31", "-9", "TERM "])
def test_a_stop_signal_that_is_none_is_left_out(rootfs: Path, stop_signal: str) -> None:
    spec = make_spec(rootfs, {"StopSignal": stop_signal})

    assert spec.stop_signal == ""
    assert len(spec.warnings) == 1


@pytest.mark.parametrize(
    "stop_signal", ["SIGTERM", "TERM", "9", "64", "SIGRTMIN", "SIGRTMAX-14", "WINCH", "sigterm", "rtmax-1"]
)
def test_a_stop_signal_is_kept_in_the_images_words(rootfs: Path, stop_signal: str) -> None:
    assert make_spec(rootfs, {"StopSignal": stop_signal}).stop_signal == stop_signal


@pytest.mark.parametrize("port", ["x/tcp", "0", "65536/tcp", "80/icmp", "90-80", "", "80,run.oci.x", "8\u0660"])
def test_a_port_that_is_none_is_left_out(rootfs: Path, port: str) -> None:
    spec = make_spec(rootfs, {"ExposedPorts": {port: {}, "443": {}}})

    assert spec.document["annotations"]["org.opencontainers.image.exposedPorts"] == "443"
    assert len(spec.warnings) == 1


@pytest.mark.parametrize("fields", [{"created": "garbage"}, {"created": "0000-99-99"}, {"history": [None] * 1000}])
def test_what_does_not_matter_does_not_hurt(rootfs: Path, fields: dict[str, Any]) -> None:
    assert make_spec(rootfs, None, **fields).document["process"]["args"] == ["sh"]


KEYS = st.text(max_size=20) | st.builds("".join, st.tuples(st.sampled_from(RESERVED_PREFIXES), st.text(max_size=9)))


@given(st.dictionaries(KEYS.filter(bool), st.text(max_size=5), max_size=6))
@settings(deadline=None, max_examples=80)
def test_labels_never_become_reserved_annotations(labels: dict[str, str]) -> None:
    config = ImageConfig(b"", host(), (), process=ProcessConfig(labels=labels))
    warnings: list[str] = []

    found = annotations(config, {}, warnings)

    assert not [key for key in found if key.startswith(RESERVED_PREFIXES)]
    kept = {key: value for key, value in labels.items() if not key.startswith(RESERVED_PREFIXES)}
    assert kept.items() <= found.items()
    assert len(warnings) == len(labels) - len(kept)


TEXT = st.text(max_size=12)
TEXTS = st.lists(TEXT, max_size=3).map(tuple)
PROCESSES = st.builds(
    ProcessConfig,
    user=TEXT | st.sampled_from(["app", "root:root", "7:8"]),
    env=st.lists(TEXT | st.just("A=b"), max_size=3).map(tuple),
    entrypoint=TEXTS,
    cmd=TEXTS,
    working_dir=TEXT,
    volumes=TEXTS,
    exposed_ports=TEXTS,
    labels=st.dictionaries(TEXT, TEXT, max_size=3),
    stop_signal=TEXT,
)


@pytest.fixture(scope="module")
def shared_rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rootfs(tmp_path_factory.mktemp("shared") / "rootfs")


@given(process=PROCESSES)
@settings(deadline=None, max_examples=100)
def test_any_config_gives_a_spec_or_one_of_our_errors(shared_rootfs: Path, process: ProcessConfig) -> None:
    config = ImageConfig(b"", Platform("linux", host().architecture), (), process=process)
    try:
        spec = transform_config(config, Overrides(), DirectoryRoot(shared_rootfs), host=host())
    except PrestowError as error:
        assert str(error).isprintable()  # noqa: PT017 - which error it is depends on the input
    else:
        assert spec.document["process"]["cwd"].startswith("/")
