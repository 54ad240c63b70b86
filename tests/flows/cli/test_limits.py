"""The command as a process that may open few files: enough for an image of many layers."""

import resource
from functools import partial
from pathlib import Path

import pytest

from tests.flows.cli.conftest import Prestow
from tests.image_factory import write_image
from tests.registries import FaultRegistry
from tests.tar_builder import Tar

FEW, TOO_FEW = 64, 16
LAYERS = 40


def test_where_a_flow_cannot_run_for_want_of_descriptors_that_is_said_at_once(prestow: Prestow) -> None:
    limited = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (TOO_FEW, TOO_FEW))

    done = prestow("pull", "127.0.0.1:1/team/many:many", preexec_fn=limited)

    assert (done.status, done.out, done.err.count("\n")) == (8, "", 1)
    assert "ulimit -n" in done.err


@pytest.mark.long
def test_an_image_of_many_layers_needs_few_descriptors(prestow: Prestow, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", [Tar().file(f"{n}", b"%d" % n).to_bytes() for n in range(LAYERS)], ref="many")
    limited = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (FEW, FEW))
    with FaultRegistry(tmp_path / "layout") as registry:
        done = prestow("pull", f"{registry.domain}/team/many:many", "--json", preexec_fn=limited)

        assert done.status == 0, done.err
        assert done.document["checkpoint"] == "tagged"
        assert len(registry.requests("/blobs/", "GET")) == LAYERS + 1
        assert "Too many open files" not in done.err
