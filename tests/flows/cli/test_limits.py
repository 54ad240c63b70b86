"""The command as a process that may open few files: enough for an image of many layers."""

import resource
from functools import partial
from pathlib import Path

from tests.flows.cli.conftest import Prestow
from tests.image_factory import write_image
from tests.registries import FaultRegistry
from tests.tar_builder import Tar

FEW = 64
LAYERS = 40


def test_an_image_of_many_layers_needs_few_descriptors(prestow: Prestow, tmp_path: Path) -> None:
    write_image(tmp_path / "layout", [Tar().file(f"{n}", b"%d" % n).to_bytes() for n in range(LAYERS)], ref="many")
    limited = partial(resource.setrlimit, resource.RLIMIT_NOFILE, (FEW, FEW))
    with FaultRegistry(tmp_path / "layout") as registry:
        done = prestow("pull", f"{registry.domain}/team/many:many", "--json", preexec_fn=limited)

        assert done.status == 0, done.err
        assert done.document["checkpoint"] == "tagged"
        assert len(registry.requests("/blobs/", "GET")) == LAYERS + 1
        assert "Too many open files" not in done.err
