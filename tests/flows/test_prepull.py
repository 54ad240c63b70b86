"""The flow ``prepull`` without an order: many images on this host, and a report of what is here."""

from pathlib import Path

import pytest

from flows.fanout import PrepullError
from flows.prepull import prepull
from flows.rollout.reporting import last_report
from prestow.store.node import open_node
from tests.image_factory import write_demo_image
from tests.registries import DockerRegistry

pytestmark = pytest.mark.usefixtures("prefect_server")


def test_all_images_are_here_afterwards(home: str, docker_registry: DockerRegistry, tmp_path: Path) -> None:
    references = []
    for compression in ("gzip", "zstd"):
        write_demo_image(tmp_path / "layout", ref=compression, compression=compression)
        references.append(docker_registry.push(tmp_path / "layout", compression, f"prepull/all:{compression}"))

    result = prepull([*references, references[0]], parallel=2, home=home)

    assert [image.name for image in result.images] == references
    assert [image.error for image in result.images] == [None, None]
    assert [record.name for record in open_node(home).images.list()] == sorted(references)


def test_one_that_fails_stops_no_other(home: str, docker_registry: DockerRegistry, demo_layout: Path) -> None:
    good = docker_registry.push(demo_layout, "demo", "prepull/good:1")
    bad = f"{docker_registry.domain}/prepull/absent:1"

    with pytest.raises(PrepullError, match="1 of 2 images are not here") as failure:
        prepull([bad, good], parallel=1, home=home)

    absent, present = failure.value.result.images
    assert absent.error is not None
    assert "absent" in absent.error
    assert present.error is None
    report = last_report(open_node(home).host)
    assert report is not None
    assert [failure.image for failure in report.failures] == [bad]
    assert good in [image.name for image in report.images]
