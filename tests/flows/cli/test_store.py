"""A store or a settings file that cannot be used: one line that says which, why, and what to do."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.flows.cli.conftest import PROJECT, Called, Prestow

# The first call loads what the second one may no longer be allowed to read.
AS_NOBODY = """
import os, sys
from flows.cli.main import main
assert main(["images", "--json", "--home", sys.argv[1]]) == 0
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(main(["images"]))
"""


def a_file(home: Path) -> None:
    home.write_text("I am a file")


def a_file_above(home: Path) -> None:
    home.parent.joinpath("above").write_text("I am a file")
    home.symlink_to(home.parent / "above" / "store")


def of_others(home: Path) -> None:
    home.mkdir()
    os.chown(home, 12345, 12345)


def written_by_others(home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)


def damaged(home: Path) -> None:
    home.mkdir(0o700)
    (home / "store.json").write_text("{")


def of_a_newer_format(home: Path) -> None:
    home.mkdir(0o700)
    (home / "store.json").write_text('{"format": 99, "id": "x"}')


@pytest.mark.parametrize(
    ("spoil", "status", "said"),
    [
        (a_file, 11, "File exists"),
        (a_file_above, 11, "store"),
        (of_others, 2, "belongs to user 12345"),
        (written_by_others, 2, "chmod 0700"),
        (damaged, 2, "store.json is damaged"),
        (of_a_newer_format, 9, "upgrade"),
    ],
)
def test_a_store_that_is_none_is_refused_in_one_line(
    called: Called, home: Path, spoil: Callable[[Path], None], status: int, said: str
) -> None:
    spoil(home)

    done = called("images")

    assert (done.status, done.out, done.err.count("\n")) == (status, "", 1)
    assert str(home) in done.err
    assert said in done.err


def test_a_store_that_we_may_not_read_is_refused_in_one_line(alone: Prestow, tmp_path: Path) -> None:
    program = [sys.executable, "-c", AS_NOBODY, str(tmp_path / "other")]

    done = subprocess.run(program, cwd=PROJECT, env=alone.environment, check=False, capture_output=True, text=True)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (11, "[]\n", 1)
    assert "Permission denied; choose another one with --home" in done.stderr


@pytest.mark.parametrize("line", ["pull a", "prepull a", "bundle a d", "prune", "run a"])
def test_a_flow_is_not_begun_on_a_store_that_is_none(called: Called, home: Path, line: str) -> None:
    home.write_text("I am a file")

    done = called(*line.split())

    assert (done.status, done.out, done.err.count("\n")) == (125 if line == "run a" else 11, "", 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('driver = "zfs"', "driver: Input should be 'auto', 'erofs', 'overlay' or 'native'"),
        ("drivr = 1", "drivr: there is no such setting"),
        ("driver = ", "config.toml: Invalid value"),
        (b"\xff\xfe", "utf-8"),
        ("lease_hours = 0", "lease_hours"),
        ("[driver]", "driver"),
    ],
)
def test_a_settings_file_that_is_wrong_is_refused_in_one_line(
    called: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | bytes, said: str
) -> None:
    file = tmp_path / "config.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    monkeypatch.setenv("PRESTOW_CONFIG", str(file))

    done = called("pull", "a")

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert said in done.err


@pytest.mark.parametrize("name", ["absent.toml", "."])
def test_a_settings_file_that_is_named_must_be_there(
    called: Called, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("PRESTOW_CONFIG", str(tmp_path / name))

    done = called("prune", "--dry-run")

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert str(tmp_path) in done.err


def test_a_list_in_a_variable_that_is_no_json_is_said(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_INSECURE_REGISTRIES", "registry.example:5000")

    done = called("prune", "--dry-run")

    assert done.status == 2
    assert "insecure_registries" in done.err
    assert "JSON" in done.err


def test_wrong_settings_do_not_stand_in_the_way_of_those_who_only_look(
    called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_DRIVER", "zfs")

    assert [called(verb).status for verb in ("images", "snapshots", "containers")] == [0, 0, 0]


def test_doctor_lists_every_setting_with_its_default(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_DURABILITY", "fast")

    done = called("doctor", "--json")
    settings = {setting["name"]: setting for setting in done.document["settings"]}

    assert done.status == 0
    assert settings["durability"]["variable"] == "PRESTOW_DURABILITY"
    assert (settings["durability"]["value"], settings["durability"]["default"]) == ("fast", "full")
    assert all(setting["meaning"] for setting in settings.values())
    page = called("doctor").out
    assert all(name in page for name in settings)


def test_doctor_says_which_setting_is_wrong_and_still_lists_them(
    called: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRESTOW_DRIVER", "zfs")

    done = called("doctor", "--json")

    found = {check["check"]: check for check in done.document["checks"]}
    assert done.status == 1
    assert "driver" in found["settings"]["found"]
    assert found["store"]["works"]
    assert {setting["name"]: setting["default"] for setting in done.document["settings"]}["driver"] == "auto"


def test_doctor_names_variables_that_are_no_settings(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_DRIVR", "erofs")

    done = called("doctor")

    assert done.status == 0
    assert "PRESTOW_DRIVR" in done.out


def test_doctor_says_what_else_it_found_when_the_store_is_none(called: Called, home: Path) -> None:
    home.write_text("I am a file")

    done = called("doctor", "--json")

    found = {check["check"]: check["works"] for check in done.document["checks"] if check["check"] != "schedules"}
    assert done.status == 1
    assert found == dict.fromkeys(("settings", "proxies", "runtime", "root", "prefect"), True) | {"store": False}


def test_doctor_asks_the_api_that_prefect_is_told_to_use(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")

    done = called("doctor", "--json")

    (prefect,) = [check for check in done.document["checks"] if check["check"] == "prefect"]
    assert (done.status, prefect["works"]) == (1, False)
    assert "PREFECT_API_URL" in prefect["advice"]


def test_doctor_says_what_works_here(called: Called) -> None:
    done = called("doctor", "--json")

    drivers = [check["check"] for check in done.document["checks"] if check["check"].startswith("snapshotter")]
    assert drivers == ["snapshotter erofs", "snapshotter overlay", "snapshotter native"]
    assert json.dumps(done.document)
    assert called("doctor").out.startswith("CHECK")
