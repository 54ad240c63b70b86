"""What we stand on is newer than the holes that are known in it."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
FLOORS = [
    ("prefect", "3.6.28"),  # CVE-2026-7722, CVE-2026-7723, CVE-2026-7724, CVE-2026-3514
    ("h11", "0.16"),  # CVE-2025-43859
]


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall("[0-9]+", text))


@pytest.mark.parametrize(("name", "floor"), FLOORS)
def test_what_is_installed_is_newer(name: str, floor: str) -> None:
    assert numbers(version(name)) >= numbers(floor)


def test_the_sqlalchemy_with_which_schedules_never_run_cannot_be_installed_with_us() -> None:
    requirements = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]

    assert any(re.fullmatch(r"sqlalchemy>=2\.0,<2\.1", found) for found in requirements)
    assert numbers(version("sqlalchemy")) < (2, 1)


def test_the_prefect_whose_cron_schedules_never_run_cannot_be_installed_with_us() -> None:
    """3.9.1 on Python 3.11 and 3.12: ValueError: tzinfo must be of type ZoneInfo (exactly), got Timezone('UTC')."""
    requirements = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]

    (prefect,) = [found for found in requirements if re.match("prefect[^a-z-]", found)]
    assert prefect.endswith(",<3.9.1")


def test_an_older_prefect_cannot_be_installed_with_us() -> None:
    requirements = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]

    (prefect,) = [found for found in requirements if re.match("prefect[^a-z-]", found)]
    at_least = re.search(r">=([0-9.]+)", prefect)
    assert at_least is not None
    assert numbers(at_least[1]) >= numbers(dict(FLOORS)["prefect"])
