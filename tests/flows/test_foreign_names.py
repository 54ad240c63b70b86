"""Names that somebody else chose are neither templates nor Markdown nor paths, wherever Prefect keeps them."""

from pathlib import Path
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey

from flows.fanout import PrepullError
from flows.forms.markdown import code
from flows.prepull import prepull
from flows.pull import pull
from tasks.policy import records
from tests.image_factory import write_image
from tests.prefect_records import flow_run_id, task_runs
from tests.tar_builder import Tar

EVIL = "{home} {0} %s [x](evil) <img src=x> `a` ..%2f"


@pytest.mark.usefixtures("prefect_server")
def test_a_name_with_braces_names_a_run_as_it_stands_and_no_file(home: str, tmp_path: Path) -> None:
    write_image(tmp_path / EVIL, [Tar().file("f", b"x").to_bytes()], ref="evil")
    reference = f"oci:{tmp_path / EVIL}:evil"

    state = pull(reference, name="team/evil:1", home=home, return_state=True)

    run = flow_run_id(state)
    with get_client(sync_client=True) as client:
        assert client.read_flow_run(run).name == f"pull {reference}"
    assert len(task_runs(run, 1 + 1 + 3 + 2)) == 7
    for record in records(home).iterdir():
        step, version, digest = record.name.split("-")
        assert (step.isidentifier(), version.isdecimal(), len(digest), digest.isalnum()) == (True, True, 64, True)


@pytest.mark.usefixtures("prefect_server")
def test_on_the_page_of_a_host_foreign_text_is_code(home: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRESTOW_NODE_NAME", name := f"h{uuid4().hex[:8]}")
    reference = f"oci:{tmp_path / EVIL}:evil"

    with pytest.raises(PrepullError):
        prepull([reference], home=home)

    with get_client(sync_client=True) as client:
        key = ArtifactFilterKey(any_=[f"prestow-host-{name}"])
        (page,) = client.read_artifacts(artifact_filter=ArtifactFilter(key=key))
    page_text = str(page.data).partition("```json")[0]
    assert "evil" in page_text
    assert "<img" not in MarkdownIt().enable("table").render(page_text)


@given(st.text(max_size=300))
def test_code_ends_only_where_it_is_to_end(text: str) -> None:
    shown = code(text)

    assert "\n" not in shown
    fence = shown[: len(shown) - len(shown.lstrip("`"))]
    assert shown == "none" or (shown.endswith(fence) and f"{fence}" not in shown[len(fence) : -len(fence)])
