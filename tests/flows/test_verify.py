"""The flow ``verify``: a run that fails while something is damaged, and repairs when asked to."""

from pathlib import Path

import pytest

from flows.pull import pull
from flows.verify import verify
from prestow.digest import Digest
from prestow.node import open_node
from tests.conformance.snapshotter_damage import flip

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_damage_fails_the_run_until_it_is_repaired(home: str, demo_layout: Path) -> None:
    layer = pull(f"oci:{demo_layout}:demo", driver="native", home=home).layers[1]
    name = "localhost/demo:latest"
    assert verify(home=home).damaged == 0
    flip(open_node(home).content.path(Digest(layer.diff_id)))

    state = verify(name, home=home, return_state=True)
    mended = verify(repair=True, home=home)

    assert state.is_failed()
    assert "damaged" in (state.message or "")
    assert mended.damaged == 0
    assert next(each.how for each in mended.images[0].mended) == "decompressed again"
    assert verify(name, home=home).images[0].found.damaged == ()
