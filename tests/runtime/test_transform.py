"""An image config becomes a runtime spec by the rules of image-spec, and umoci and runc agree on it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from prestow.digest import Digest
from prestow.errors import InvalidError, UnsupportedError
from prestow.platforms import Platform, host
from prestow.runtime import defaults
from prestow.runtime.overrides import Overrides, Resources, Rootless
from prestow.runtime.rootfs import DirectoryRoot
from prestow.runtime.spec import Mount, Spec
from prestow.runtime.transform import transform_config
from tests.runtime.busybox import make_config, make_rootfs, make_spec

IMAGE = "org.opencontainers.image."


@pytest.fixture(scope="module")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_rootfs(tmp_path_factory.mktemp("image") / "rootfs")


def process(rootfs: Path, config: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    found: dict[str, Any] = make_spec(rootfs, config, Overrides(**overrides)).document["process"]
    return found


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "overrides", "expected"),
    [
        (["e"], ["c"], {}, ["e", "c"]),
        (["e"], [], {}, ["e"]),
        ([], ["c", ""], {}, ["c", ""]),
        (["e"], ["c"], {"args": ("x", "y")}, ["e", "x", "y"]),
        (["e"], ["c"], {"entrypoint": ("n",)}, ["n"]),
        (["e"], ["c"], {"entrypoint": ("n",), "args": ("x",)}, ["n", "x"]),
        (["e"], ["c"], {"entrypoint": (), "args": ("x",)}, ["x"]),
    ],
)
def test_arguments_are_entrypoint_and_cmd(
    rootfs: Path, entrypoint: list[str], cmd: list[str], overrides: dict[str, Any], expected: list[str]
) -> None:
    assert process(rootfs, {"Entrypoint": entrypoint, "Cmd": cmd}, **overrides)["args"] == expected


@pytest.mark.parametrize(
    ("image", "operator", "expected"),
    [
        ([], (), ["PATH=" + defaults.PATH, "HOME=/root"]),
        (["A=1", "B=x=y", "C="], (), ["PATH=" + defaults.PATH, "HOME=/root", "A=1", "B=x=y", "C="]),
        (["PATH=/bin", "HOME=/h"], (), ["PATH=/bin", "HOME=/h"]),
        (["PATH=", "HOME="], (), ["PATH=", "HOME="]),
        (["PATH=/bin", "HOME=/", "A=1", "A=2"], ("A=3", "B=4"), ["PATH=/bin", "HOME=/", "A=3", "B=4"]),
        (["PATH=/bin", "HOME=/", "A=1", "A=2"], (), ["PATH=/bin", "HOME=/", "A=2"]),
        (["PATH=/bin", "HOME=/", "A=1"], ("A", "HOME", "NONE"), ["PATH=/bin"]),
    ],
)
def test_the_environment_is_the_images_then_the_operators(
    rootfs: Path, image: list[str], operator: tuple[str, ...], expected: list[str]
) -> None:
    assert process(rootfs, {"Env": image}, env=operator)["env"] == expected


def test_a_terminal_brings_a_term(rootfs: Path) -> None:
    found = process(rootfs, {}, tty=True)

    assert found["terminal"] is True
    assert "TERM=xterm" in found["env"]


@pytest.mark.parametrize(
    ("directory", "expected"),
    [("", "/"), ("/srv", "/srv"), ("srv/x", "/srv/x"), ("../../etc", "/etc"), ("/a/./b//c/", "/a/b/c"), ("//a", "/a")],
)
def test_the_working_directory_is_absolute_and_normal(rootfs: Path, directory: str, expected: str) -> None:
    assert process(rootfs, {"WorkingDir": directory})["cwd"] == expected
    assert process(rootfs, {"WorkingDir": "/other"}, cwd=directory or "/")["cwd"] == expected


def test_the_user_has_its_groups_and_its_home(rootfs: Path) -> None:
    found = process(rootfs, {"User": "app"})

    assert found["user"] == {"uid": 1000, "gid": 1000, "additionalGids": [1000, 10, 29]}
    assert "HOME=/home/app" in found["env"]


def test_the_operator_names_another_user(rootfs: Path) -> None:
    assert process(rootfs, {"User": "nobody-here"}, user="5:6")["user"] == {"uid": 5, "gid": 6}


def test_fields_become_annotations_and_labels_win(rootfs: Path) -> None:
    config = {
        "Labels": {IMAGE + "author": "label", "own": "ä\n"},
        "ExposedPorts": {"9000/udp": {}, "80/tcp": {}, "70-79": {}},
        "StopSignal": "SIGRTMIN+3",
    }

    spec = make_spec(
        rootfs, config, Overrides(annotations={"own": "operator's"}), author="field", created="2024-01-01T00:00:00Z"
    )

    assert spec.document["annotations"] == {
        IMAGE + "os": "linux",
        IMAGE + "architecture": host().architecture,
        IMAGE + "author": "label",
        IMAGE + "created": "2024-01-01T00:00:00Z",
        IMAGE + "stopSignal": "SIGRTMIN+3",
        IMAGE + "exposedPorts": "70-79,80/tcp,9000/udp",
        "own": "operator's",
    }
    assert spec.warnings == ()


def test_every_word_of_the_platform_is_an_annotation(rootfs: Path) -> None:
    config = make_config(
        {"Cmd": ["sh"]}, **{"architecture": "arm64", "variant": "v8", "os.version": "1.2", "os.features": ["a", "b"]}
    )

    spec = transform_config(config, Overrides(), DirectoryRoot(rootfs), host=config.platform)

    found = spec.document["annotations"]
    assert found[IMAGE + "variant"] == "v8"
    assert found[IMAGE + "os.version"] == "1.2"
    assert found[IMAGE + "os.features"] == "a,b"


@pytest.mark.parametrize("fields", [{"os": "windows"}, {"architecture": "s390x"}, {"os": "LinuX", "architecture": "x"}])
def test_an_image_for_another_machine_is_not_supported(rootfs: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedError, match="image for"):
        make_spec(rootfs, **fields)


def test_an_image_for_an_ancestor_of_the_machine_runs(rootfs: Path) -> None:
    config = make_config({"Cmd": ["sh"]}, architecture="386")

    spec = transform_config(config, Overrides(), DirectoryRoot(rootfs), host=Platform("linux", "amd64"))

    assert "SCMP_ARCH_X86_64" in spec.document["linux"]["seccomp"]["architectures"]


def test_the_operator_sets_limits_and_the_root(rootfs: Path) -> None:
    resources = Resources(memory=1 << 20, cpus=1.5, pids=10, open_files=99)
    overrides = Overrides(resources=resources, cgroup="/a/b", hostname="here", read_only=True, seccomp="unconfined")

    document = make_spec(rootfs, {}, overrides).document

    assert document["linux"]["resources"] == {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": 1 << 20},
        "cpu": {"quota": 150000, "period": 100000},
        "pids": {"limit": 10},
    }
    assert document["process"]["rlimits"] == [{"type": "RLIMIT_NOFILE", "soft": 99, "hard": 99}]
    assert document["root"] == {"path": "rootfs", "readonly": True}
    assert (document["hostname"], document["linux"]["cgroupsPath"]) == ("here", "/a/b")
    assert "seccomp" not in document["linux"]


@pytest.mark.parametrize(
    "overrides",
    [
        {"hostname": "a b"},
        {"hostname": "a" * 65},
        {"resources": Resources(memory=0)},
        {"resources": Resources(cpus=0)},
        {"resources": Resources(cpus=float("nan"))},
        {"resources": Resources(pids=-1)},
        {"resources": Resources(open_files=1 << 30)},
        {"annotations": {"": "x"}},
        {"args": ("a\0",)},
        {"args": ("\udc80",)},
        {"env": ("=x",)},
        {"mounts": (Mount("relative", "bind", "/x"),)},
        {"mounts": (Mount("/a/..", "bind", "/x"),)},
    ],
)
def test_an_override_that_cannot_be_understood_is_refused(rootfs: Path, overrides: dict[str, Any]) -> None:
    with pytest.raises(InvalidError):
        make_spec(rootfs, {}, Overrides(**overrides))


def test_a_secret_in_the_environment_is_not_in_the_error(rootfs: Path) -> None:
    with pytest.raises(InvalidError) as caught:
        make_spec(rootfs, {}, Overrides(env=("TOKEN=hunter2\0",)))

    assert "TOKEN" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_same_input_gives_the_same_bytes_and_they_are_read_back(rootfs: Path) -> None:
    config = {"Labels": {"b": "ü", "a": "2"}, "Volumes": {"/v2": {}, "/v1": {}}, "User": "app"}
    turned = {key: dict(reversed(value.items())) if isinstance(value, dict) else value for key, value in config.items()}

    first, second = make_spec(rootfs, config), make_spec(rootfs, turned)

    assert first.to_json() == second.to_json()
    assert Spec.from_json(first.to_json()) == first


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"ociVersion": "1.0.2", "process": []}'])
def test_what_is_not_a_spec_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidError):
        Spec.from_json(raw)


def test_the_structure_is_that_of_runc(rootfs: Path, tmp_path: Path) -> None:
    """Whatever stands in both has the same type and the same defaults, but for what we decided otherwise."""
    subprocess.run(["runc", "spec"], cwd=tmp_path, check=True)
    theirs = json.loads((tmp_path / "config.json").read_bytes())

    ours = make_spec(rootfs).document

    assert types(theirs) <= types(ours) | {"/hostname:str"}
    mounts = {mount["destination"]: mount for mount in ours["mounts"]}
    assert {mount["destination"] for mount in theirs["mounts"]} == set(mounts)
    for mount in theirs["mounts"]:
        assert set(mount.get("options", ())) <= set(mounts[mount["destination"]]["options"])
    assert set(theirs["linux"]["maskedPaths"]) <= set(ours["linux"]["maskedPaths"])
    assert theirs["linux"]["readonlyPaths"] == ours["linux"]["readonlyPaths"]
    assert theirs["linux"]["resources"] == ours["linux"]["resources"]
    assert theirs["process"]["rlimits"] == ours["process"]["rlimits"]


def test_rootless_has_the_namespaces_and_mounts_of_runc(rootfs: Path, tmp_path: Path) -> None:
    subprocess.run(["runc", "spec", "--rootless"], cwd=tmp_path, check=True)
    theirs = json.loads((tmp_path / "config.json").read_bytes())

    ours = make_spec(rootfs, {}, Overrides(rootless=Rootless(0, 0), network="host")).document

    kinds = {namespace["type"] for namespace in ours["linux"]["namespaces"]}
    assert kinds - {"cgroup"} == {namespace["type"] for namespace in theirs["linux"]["namespaces"]}
    assert ours["linux"]["uidMappings"] == theirs["linux"]["uidMappings"]
    (sys,) = (mount for mount in ours["mounts"] if mount["destination"] == "/sys")
    assert sys["source"] == "/sys"
    assert "rbind" in sys["options"]
    assert not [o for mount in ours["mounts"] for o in mount["options"] if o.startswith(("uid=", "gid="))]


def test_rootless_is_for_user_0_alone(rootfs: Path) -> None:
    with pytest.raises(UnsupportedError, match="1000:1000"):
        make_spec(rootfs, {}, Overrides(user="app", rootless=Rootless(1, 1)))

    spec = make_spec(rootfs, {"User": "root"}, Overrides(rootless=Rootless(1, 1)))

    assert spec.document["process"]["user"] == {"uid": 0, "gid": 0}
    assert spec.document["process"]["capabilities"]["effective"] != []
    assert len(spec.warnings) == 1


def test_rootless_gives_the_process_of_another_user_no_more_rights_than_that_has(rootfs: Path) -> None:
    spec = make_spec(rootfs, {"User": "app"}, Overrides(rootless=Rootless(1, 1)))

    assert spec.document["process"]["user"] == {"uid": 0, "gid": 0}
    assert set(map(tuple, spec.document["process"]["capabilities"].values())) == {()}
    assert [warning.startswith("user 1000:1000 of the image") for warning in spec.warnings] == [True]


@pytest.mark.parametrize("user", ["app", "app:wheel", "1000", "1000:10", "root", "77:88"])
def test_umoci_makes_the_same_of_an_image(rootfs: Path, tmp_path: Path, user: str) -> None:
    process = {
        "User": user,
        "Env": ["PATH=/bin:/usr/bin", "A=b"],
        "Entrypoint": ["sh", "-c"],
        "Cmd": ["true"],
        "WorkingDir": "/srv",
        "Labels": {"x": "y"},
        "ExposedPorts": {"80/tcp": {}},
        "StopSignal": "SIGINT",
    }
    fields: dict[str, Any] = {"author": "me", "created": "2020-02-02T02:02:02Z"}
    config = make_config(process, **fields)
    write_layout(tmp_path / "layout", config.raw)
    command = ["umoci", "raw", "runtime-config", "--image", f"{tmp_path}/layout:x", "--rootfs", str(rootfs)]
    subprocess.run([*command, tmp_path / "config.json"], check=True, capture_output=True)
    theirs = json.loads((tmp_path / "config.json").read_bytes())

    ours = make_spec(rootfs, process, **fields).document

    assert ours["annotations"] == theirs["annotations"]
    for name in ("args", "cwd"):
        assert ours["process"][name] == theirs["process"][name]
    their_env = {entry for entry in theirs["process"]["env"] if not entry.startswith("TERM=")}
    assert set(ours["process"]["env"]) - {"HOME=/"} == their_env  # umoci gives a number without a line no home
    assert {key: ours["process"]["user"][key] for key in ("uid", "gid")} == {
        key: theirs["process"]["user"][key] for key in ("uid", "gid")
    }


def types(document: dict[str, Any], prefix: str = "") -> set[str]:
    """List the paths of a document with the types found there; arrays end a path."""
    found: set[str] = set()
    for key, value in document.items():
        path = f"{prefix}/{key}"
        found |= types(value, path) if isinstance(value, dict) else {f"{path}:{type(value).__name__}"}
    return {path for path in found if "/capabilities/ambient" not in path}


def write_layout(directory: Path, config: bytes) -> None:
    """Write an OCI layout of one image without layers, under the name ``x``."""
    blobs = directory / "blobs/sha256"
    blobs.mkdir(parents=True)

    def put(raw: bytes, media_type: str) -> dict[str, Any]:
        digest = Digest.of(raw)
        (blobs / digest.encoded).write_bytes(raw)
        return {"mediaType": media_type, "digest": digest, "size": len(raw)}

    kind = "application/vnd.oci.image."
    manifest = {"schemaVersion": 2, "config": put(config, kind + "config.v1+json"), "layers": []}
    named = put(json.dumps(manifest).encode(), kind + "manifest.v1+json")
    named["annotations"] = {IMAGE + "ref.name": "x"}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
