"""Image configs: types checked, meaning left to the runtime (threats D-01, D-03, D-14, D-15)."""

from typing import Any

import pytest

from prestow.digest import Digest
from prestow.errors import InvalidError, UnsupportedError
from prestow.oci.image_config import ImageConfig, ProcessConfig
from prestow.platforms import Platform
from tests.oci import samples
from tests.oci.samples import raw

LOWER = str(Digest.of(b"lower"))


def parse(**changes: object) -> ImageConfig:
    return ImageConfig.parse(raw(samples.config(**changes)))


def test_a_config_is_read_and_keeps_its_bytes() -> None:
    document = raw(samples.config())

    config = ImageConfig.parse(document)

    assert config.raw == document
    assert config.digest == Digest.of(document)
    assert config.platform == Platform("linux", "arm64", "v8")
    assert config.diff_ids == (Digest.of(b"lower"), Digest.of(b"upper"))
    assert (config.created, config.author) == ("2024-01-02T03:04:05Z", "someone")
    assert config.process == ProcessConfig(
        user="app",
        env=("PATH=/bin", "A=1"),
        entrypoint=("/bin/hello",),
        cmd=("exit", "7"),
        working_dir="/srv",
        volumes=("/data",),
        exposed_ports=("80/tcp",),
        labels={"team": "fleet"},
        stop_signal="SIGINT",
    )


@pytest.mark.parametrize("value", [None, {}, {"Env": None, "Cmd": None, "Labels": None, "Volumes": None, "User": None}])
def test_null_and_absent_process_fields_are_empty(value: object) -> None:
    assert parse(config=value).process == ProcessConfig()


def test_the_least_config_is_read() -> None:
    least = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}

    assert ImageConfig.parse(raw(least)) == ImageConfig(raw(least), Platform("linux", "amd64"), ())


@pytest.mark.parametrize(
    "process",
    [
        {"Env": "A=1"}, {"Env": [1]}, {"Env": [None]}, {"Env": {"A": "1"}}, {"Entrypoint": "/bin/sh"},
        {"Entrypoint": [1]}, {"Entrypoint": ""}, {"Cmd": "x"}, {"Cmd": [None]}, {"Cmd": 5}, {"User": 0},
        {"WorkingDir": []}, {"Volumes": ["/x"]}, {"ExposedPorts": ["80"]}, {"Labels": ["a"]}, {"Labels": {"a": 1}},
        {"StopSignal": 9}, {"env": []}, {"ENTRYPOINT": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_process_field_of_another_type_is_invalid(process: dict[str, Any]) -> None:
    with pytest.raises(InvalidError, match=r"^image config sha256:[0-9a-f]{12}: config"):
        parse(config=process)


@pytest.mark.parametrize(
    "rootfs",
    [
        None, [], "layers", {}, {"type": "layers"}, {"diff_ids": [LOWER]}, {"type": "x", "diff_ids": []},
        {"type": None, "diff_ids": []}, {"type": "layers", "diff_ids": None}, {"type": "layers", "diff_ids": {}},
        {"type": "layers", "diff_ids": [None]}, {"type": "layers", "diff_ids": [1]},
        {"type": "layers", "diff_ids": ["x"]}, {"type": "layers", "diff_ids": [LOWER.upper()]},
        {"type": "layers", "diff_ids": [LOWER], "Diff_IDs": []}, {"type": "Layers", "diff_ids": []},
        {"type": "layers", "diff_ids": ["sha256:../../x"]},
    ],
    ids=str,
)  # fmt: skip
def test_a_rootfs_that_is_no_list_of_layers_is_invalid(rootfs: object) -> None:
    with pytest.raises(InvalidError, match="rootfs"):
        parse(rootfs=rootfs)


def test_a_missing_rootfs_is_invalid() -> None:
    document = samples.config()
    del document["rootfs"]

    with pytest.raises(InvalidError, match="rootfs"):
        ImageConfig.parse(raw(document))


def test_a_diff_id_of_another_algorithm_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match=r"rootfs: diff_ids\[0\]"):
        parse(rootfs={"type": "layers", "diff_ids": ["md5:d41d8cd98f00b204e9800998ecf8427e"]})


@pytest.mark.parametrize("field", ["os", "architecture"])
@pytest.mark.parametrize("value", [None, 1, [], "a/b", "a\n"])
def test_a_platform_that_cannot_be_one_is_invalid(field: str, value: object) -> None:
    with pytest.raises(InvalidError, match=r"^image config"):
        parse(**{field: value})


@pytest.mark.parametrize(
    "change",
    [
        {"created": "yesterday"},
        {"created": "0000-00-00T00:00:00Z"},
        {"created": "99999-01-01T00:00:00Z"},
        {"created": None},
        {"history": None},
        {"history": "x"},
        {"history": [{}] * 100_000},
        {"container_config": {"Cmd": "x"}},
        {"docker_version": 20},
        {"moby.buildkit.buildinfo.v1": "e30="},
    ],
    ids=lambda change: str(change)[:40],
)
def test_what_does_not_matter_is_tolerated(change: dict[str, Any]) -> None:
    assert parse(**change).diff_ids


@pytest.mark.parametrize("name", ["OS", "RootFS", "Config", "Architecture"])
def test_a_second_spelling_of_a_field_is_invalid(name: str) -> None:
    with pytest.raises(InvalidError, match="misspelt"):
        parse(**{name: {}})
