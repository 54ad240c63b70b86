"""Nobody starts a server for a process that Prefect's own settings lead to another API."""

from pathlib import Path

import pytest
from prefect.settings import Settings

from flows.local_server.named import may_be_named

URL = "http://127.0.0.1:1/api"
FILES = {
    ".env": f"PREFECT_API_URL={URL}\n",
    "prefect.toml": f'[api]\nurl = "{URL}"\n',
    "pyproject.toml": f'[tool.prefect.api]\nurl = "{URL}"\n',
    "home/profiles.toml": f'active = "mine"\n[profiles.mine]\nPREFECT_API_URL = "{URL}"\n',
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_an_api_that_a_file_names_is_seen(folder: Path, name: str) -> None:
    (folder / name).write_text(FILES[name])
    assert may_be_named({"PREFECT_HOME": str(folder / "home")}, folder)


@pytest.mark.parametrize("name", ["PREFECT_API_URL", "prefect_api_url", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"])
def test_an_api_that_a_variable_may_name_is_seen(folder: Path, name: str) -> None:
    assert may_be_named({"PREFECT_HOME": str(folder / "home"), name: "local"}, folder)


def test_without_anything_of_the_kind_prefect_knows_no_api_either(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "pyproject.toml").write_text('[project]\ndependencies = ["prefect"]\n')
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(folder / "home"))

    assert not may_be_named({"PREFECT_HOME": str(folder / "home")}, folder)
    assert Settings().api.url is None
