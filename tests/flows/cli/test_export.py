"""Images leave the store and come into another one: the same bytes each time, whole or not at all."""

import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from prestow.content.local import LocalStore
from prestow.digest import Digest
from prestow.errors import AlreadyExistsError, InvalidError, MismatchError, NotFoundError
from tests.artifacts import files, write_artifact
from tests.flows.cli.conftest import Called, Prestow
from tests.image_factory import demo_layers, read_blob, write_image

NAME = "localhost/demo:latest"


def members(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        assert [(m.uid, m.gid, m.mtime, m.mode) for m in tar] == [(0, 0, 0, 0o644)] * len(tar.getmembers())
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]  # all are files


def test_an_export_needs_no_api_and_is_the_same_bytes_each_time(
    alone: Prestow, demo: str, tmp_path: Path, demo_layout: Path
) -> None:
    first, second = (alone("export", "demo", "-o", str(tmp_path / name), "--json") for name in ("a.tar", "b.tar"))

    assert (first.status, second.status) == (0, 0)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    document = first.document
    assert document["bytes"] == (tmp_path / "a.tar").stat().st_size
    assert document["images"] == [
        {
            "name": demo,
            "digest": first.document["images"][0]["digest"],
            "platforms": ["linux/amd64"],
            "in_manifest_json": True,
        }
    ]
    found = members(tmp_path / "a.tar")
    blobs = {name: data for name, data in found.items() if name.startswith("blobs/")}
    assert len(blobs) == document["blobs"] == 6  # index, manifest, config and three layers of the platform that is here
    for name, data in blobs.items():
        assert Digest.of(data).encoded == Path(name).name
        assert data == (demo_layout / name).read_bytes()
    assert alone("server", "status", "--json").document["running"] is False


def test_other_tools_read_it_with_the_digests_of_the_store(
    called: Called, demo: str, tmp_path: Path, demo_layout: Path
) -> None:
    called("export", "demo", "-o", str(tmp_path / "a.tar"))
    called("export", "demo", "-o", f"{tmp_path}/layout/")

    for source in (f"oci-archive:{tmp_path}/a.tar:{demo}", f"oci:{tmp_path}/layout:{demo}"):
        raw = subprocess.run(["skopeo", "inspect", "--raw", source], check=True, capture_output=True, timeout=60).stdout
        assert raw == read_blob(demo_layout, Digest.of(raw))
        copy = ["skopeo", "copy", "-q", source, f"oci:{tmp_path}/copy:demo"]
        subprocess.run(copy, check=True, timeout=60, capture_output=True)
    listed = subprocess.run(
        ["umoci", "ls", "--layout", tmp_path / "layout"], check=True, capture_output=True, text=True
    )
    assert listed.stdout.split() == [demo]


def test_docker_s_older_store_can_load_an_image_that_is_whole_and_of_one_platform(
    called: Called, demo: str, tmp_path: Path, demo_layout: Path
) -> None:
    write_artifact(tmp_path / "chart", files)
    called("images", "tag", "demo", "registry.example/team/demo:2")
    called("pull", "--no-unpack", f"oci:{tmp_path}/chart", "--name", "localhost/chart:1")
    whole, update, both = (tmp_path / f"{name}.tar" for name in ("whole", "update", "both"))

    done = called("export", "demo", "registry.example/team/demo:2", "localhost/chart:1", "-o", str(whole))
    lacking = called("export", "demo", "--without", str(whole), "-o", str(update), "--json").document
    called("pull", f"oci:{demo_layout}:demo", "--platform", "linux/arm64", "--no-unpack")
    several = called("export", "demo", "-o", str(both), "--json").document

    assert [line.endswith("(not in manifest.json)") for line in done.out.splitlines()] == [True, False, False, False]
    (entry,) = json.loads(members(whole)["manifest.json"])
    assert entry["RepoTags"] == [demo, "registry.example/team/demo:2"]
    config = json.loads(members(whole)[entry["Config"]])
    shown = inspected(f"docker-archive:{whole}:{demo}")
    assert shown["Layers"] == config["rootfs"]["diff_ids"]  # skopeo decompressed and hashed them, as docker does
    assert inspected(f"oci-archive:{whole}:{demo}")["Layers"] == [
        f"sha256:{Path(each).name}" for each in entry["Layers"]
    ]
    assert several["images"][0]["platforms"] == ["linux/amd64", "linux/arm64"]
    assert not lacking["images"][0]["in_manifest_json"]
    assert not several["images"][0]["in_manifest_json"]
    assert "manifest.json" not in members(both).keys() | members(update).keys()


def inspected(source: str) -> dict[str, Any]:
    done = subprocess.run(["skopeo", "inspect", source], check=True, capture_output=True, timeout=60)
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layout with three versions of an image, each with one layer more."""
    layout = tmp_path_factory.mktemp("versions") / "layout"
    layers = [*demo_layers("amd64"), demo_layers("arm64")[0]]
    for version in (1, 2, 3):
        config = {"Entrypoint": ["/bin/hello"]}
        write_image(layout, layers[: version + 1], ref=f"registry.example/app:{version}", config=config)
    return layout


def test_a_site_without_a_network_is_updated_by_what_is_new(
    called: Called, versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in "123":
        assert called("pull", f"oci:{versions}:registry.example/app:{version}", "--no-unpack").status == 0
    files = {name: tmp_path / f"{name}.tar" for name in ("1", "2", "3", "also 3")}

    def export(name: str, *without: str) -> str:
        options = [word for each in without for word in ("--without", str(files[each]))]
        return called("export", f"registry.example/app:{name[-1]}", *options, "-o", str(files[name])).out

    export("1")
    assert "without 2 blobs" in export("2", "1")
    assert "without 3 blobs" in export("3", "2")  # among them those that the second left out
    export("also 3", "1", "2")
    assert files["also 3"].read_bytes() == files["3"].read_bytes()
    for earlier, later in (("1", "2"), ("2", "3")):
        assert len(members(files[later])) == 5  # both documents of a layout, a manifest, a config, one layer
        blobs = members(files[later]).keys() - {"oci-layout", "index.json"}
        assert not blobs & members(files[earlier]).keys()

    monkeypatch.setenv("PRESTOW_HOME", str(tmp_path / "site"))
    early = called("pull", f"oci-archive:{files['2']}")
    assert early.status == NotFoundError.exit_code
    assert "exported --without what this store should have, pull that first; else export it whole" in early.err
    for version in "123":
        pulled = called("pull", f"oci-archive:{files[version]}", "--json")
        assert (pulled.status, pulled.document["name"]) == (0, f"registry.example/app:{version}")
    assert pulled.document["fetched_bytes"] < pulled.document["reused_bytes"]


def test_an_export_into_a_layout_without_an_earlier_layout(called: Called, demo: str, tmp_path: Path) -> None:
    called("export", "demo", "-o", f"{tmp_path}/whole/")
    (tmp_path / "update").mkdir()

    done = called("export", "demo", "-o", str(tmp_path / "update"), "--without", str(tmp_path / "whole"), "--json")

    assert len(done.document["left_out"]) == 4
    assert done.document["left_out_bytes"] > 0
    assert len([*(tmp_path / "update/blobs/sha256").iterdir()]) == 2  # index and manifest


def test_nothing_is_overwritten_unless_that_is_asked_for(called: Called, demo: str, tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("mine")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").write_text("mine")

    refused = called("export", "demo", "-o", str(tmp_path / "a.tar"))
    assert (refused.status, (tmp_path / "a.tar").read_text()) == (AlreadyExistsError.exit_code, "mine")
    assert "replace it with --force" in refused.err
    assert called("export", "demo", "-o", str(tmp_path / "full"), "--force").status == AlreadyExistsError.exit_code
    assert called("export", "demo", "-o", "/dev/null").status == InvalidError.exit_code
    assert called("export", "demo", "-o", str(tmp_path / "absent/a.tar")).status == NotFoundError.exit_code
    assert called("export", "demo", "-o", str(tmp_path / "a.tar"), "--force").status == 0
    assert "index.json" in members(tmp_path / "a.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "full", "store"]


@pytest.mark.parametrize("damage", ["gone", "corrupt"])
def test_what_is_not_whole_is_not_exported(called: Called, home: Path, demo: str, tmp_path: Path, damage: str) -> None:
    content = LocalStore(home / "content", home / "ingest")
    (layer, *_) = called("images", "inspect", "demo", "--json").document["layers"]
    blob = content.path(Digest(layer["digest"]))
    blob.chmod(0o600)
    blob.unlink() if damage == "gone" else blob.write_bytes(bytes(layer["size"]))

    done = called("export", "demo", "-o", str(tmp_path / "a.tar"))

    if damage == "gone":
        assert done.status == NotFoundError.exit_code
        assert f"{layer['digest']} of it is not in the store; pull it again" in done.err
    else:
        assert done.status == MismatchError.exit_code
        assert "fsck --all --repair" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
