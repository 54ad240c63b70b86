"""Where containerd is, read without the settings' models: the same as these say."""

from pathlib import Path

import pytest

from config.runtimes import ADDRESS, NAMESPACE, ContainerdPlace, containerd_place, plain_setting
from config.settings import load


def both() -> tuple[ContainerdPlace, ContainerdPlace]:
    """The place, and the same by the settings."""
    settings = load()
    place = ContainerdPlace(settings.containerd_address, settings.containerd_namespace, settings.runtime_snapshotter)
    return containerd_place(), place


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting is in the environment."""
    for name in ("NODE_NAME", "CONTAINERD_ADDRESS", "CONTAINERD_NAMESPACE", "RUNTIME_SNAPSHOTTER"):
        monkeypatch.delenv(f"PRESTOW_{name}", raising=False)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("PRESTOW_CONFIG", str(path))
    return path


def test_without_settings_it_is_the_usual_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRESTOW_CONFIG", raising=False)

    assert both() == (ContainerdPlace(ADDRESS, NAMESPACE, None),) * 2


def test_the_file_is_read_and_the_environment_goes_before_it(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('containerd_address = "/run/k3s/containerd/containerd.sock"\nruntime_snapshotter = "erofs"\n')
    monkeypatch.setenv("PRESTOW_CONTAINERD_NAMESPACE", "moby")
    monkeypatch.setenv("PRESTOW_RUNTIME_SNAPSHOTTER", "overlayfs")

    place = ContainerdPlace(Path("/run/k3s/containerd/containerd.sock"), "moby", "overlayfs")
    assert both() == (place, place)


def test_a_file_that_cannot_be_read_is_an_error(file: Path) -> None:
    file.write_text("= x")

    with pytest.raises(ValueError, match="settings file"):
        containerd_place()


def test_what_is_in_neither_is_none(file: Path) -> None:
    file.write_text("")

    assert plain_setting("node_name") is None
