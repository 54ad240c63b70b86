"""The imports that a wheel's modules have: rewritten where they name our folders, and nowhere else."""

import pytest

from hatch_build import moved


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("from flows import pull\n", "from prestow._project.flows import pull\n"),
        ("from config.home import cold\n", "from prestow._project.config.home import cold\n"),
        ("if x:\n    from  tasks.tag import tag\n", "if x:\n    from  prestow._project.tasks.tag import tag\n"),
        ("from tasks.a import (\n    b,\n)\nc = 1\n", "from prestow._project.tasks.a import (\n    b,\n)\nc = 1\n"),
        ("é = 1; from flows.a import b\n", "é = 1; from prestow._project.flows.a import b\n"),
    ],
)
def test_an_import_of_ours_is_rewritten(source: str, wanted: str) -> None:
    assert moved(source) == wanted


@pytest.mark.parametrize(
    "source",
    [
        "from prestow.flows import pull\n",
        "from configuration import x\nimport flowsheet, prefect.tasks\n",
        "'''from flows import pull'''\nx = 'import config'  # from tasks import y\n",
    ],
)
def test_all_else_stays(source: str) -> None:
    assert moved(source) == source


@pytest.mark.parametrize("source", ["import flows\n", "import os, config.home as home\n"])
def test_a_form_that_is_not_rewritten_breaks_the_build(source: str) -> None:
    with pytest.raises(ValueError, match="line 1"):
        moved(source)
