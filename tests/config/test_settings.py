"""Settings: where they come from, and what is said of wrong ones."""

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from config.page import page
from config.settings import HOST_NAME, SettingsError, load
from prestow.fleet.names import HostName

ROOT = Path(__file__).parent.parent.parent


def test_the_reference_page_is_made_from_the_declarations() -> None:
    assert (ROOT / "docs/reference/settings.md").read_text() == page()


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text('driver = "native"\nparallel_images = 7\n')
    monkeypatch.setenv("PRESTOW_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("PRESTOW_DRIVER", "overlay")

    settings = load()

    assert (settings.driver, settings.parallel_images) == ("overlay", 7)


def test_other_variables_of_ours_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_HOME", "/somewhere")
    monkeypatch.setenv("PRESTOW_PROJECT", "/elsewhere")

    assert load().driver == "auto"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('driver = "zfs"', "driver"),
        ("drivr = 1", "drivr"),
        ("max_layers = 501", "max_layers"),
        ("not toml", "config.toml"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    monkeypatch.setenv("PRESTOW_CONFIG", str(tmp_path / "config.toml"))

    with pytest.raises(SettingsError, match=said):
        load()


@pytest.mark.parametrize(
    "entry",
    ["https://auth.example", "auth.example:8443", "auth.example/token", "a=b=c", "=auth.example", "a.example=", "",
     " a", "a.example=auth.example:8443", "a.example:x=b", "a\n", "*.example"],
)  # fmt: skip
def test_an_entry_of_trusted_hosts_that_no_token_service_can_match_is_named(
    monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    monkeypatch.setenv("PRESTOW_TRUSTED_HOSTS", json.dumps(["good.example", entry]))

    with pytest.raises(SettingsError, match=r"trusted_hosts.*expected host or registry") as caught:
        load()
    assert repr(entry) in str(caught.value)


def test_trusted_hosts_are_hosts_or_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [
        "Auth.example",
        "10.0.0.1",
        "fd00::1",
        "Gitlab.example:5000=auth.example.org",
        "[::1]:5000=::1",
        "localhost",
    ]
    monkeypatch.setenv("PRESTOW_TRUSTED_HOSTS", json.dumps(entries))

    assert load().trusted_hosts == tuple(entry.lower() for entry in entries)


def test_a_host_has_the_name_that_a_fleet_file_may_have() -> None:
    properties = TypeAdapter(HostName).json_schema()

    assert properties["pattern"] == HOST_NAME
