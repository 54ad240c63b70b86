"""Archives through the verbs: pulled, named and run, with the digests that containerd gives them."""

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from flows.cli.output import size
from tests.containerd import Containerd
from tests.flows.cli.conftest import Called, Prestow
from tests.image_factory import MOTD

pytestmark = pytest.mark.usefixtures("prefect_server")
NAME = "docker.io/library/demo:1"


@pytest.fixture(scope="module")
def archive(demo_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo image in a Docker archive with a file name that is no image name."""
    path = tmp_path_factory.mktemp("saved") / "My Image.tar"
    copy = ["skopeo", "copy", "-q", f"oci:{demo_layout}:demo", f"docker-archive:{path}:demo:1"]
    subprocess.run(copy, check=True, timeout=60, stdout=subprocess.DEVNULL)
    return path


def test_a_compressed_archive_runs_under_the_name_that_is_in_it(prestow: Prestow, archive: Path) -> None:
    packed = archive.with_suffix(".tgz")
    packed.write_bytes(gzip.compress(archive.read_bytes()))

    done = prestow("run", "--rm", "--pull", "missing", f"docker-archive:{packed}")

    assert (done.status, done.out) == (0, MOTD.decode())
    assert re.search(
        rf"^decompress \S+: \d+\.\d\d s, {re.escape(size(packed.stat().st_size))}$", done.err, re.MULTILINE
    )
    (image,) = prestow("images", "--json").document
    assert (image["name"], image["labels"]["prestow.source"]) == (NAME, f"docker-archive:{packed}")
    assert [path.name for path in prestow.home.iterdir() if path.name.startswith("tmp")] == []


def test_a_pre_pull_takes_archives_beside_others(called: Called, archive: Path, demo_layout: Path) -> None:
    done = called("prepull", f"docker-archive:{archive}:demo:1", f"oci:{demo_layout}:demo", "--json")

    assert [image["name"] for image in done.document["images"]] == [NAME, "localhost/demo:latest"]


def test_a_docker_archive_has_the_digest_that_containerd_gives_it(
    called: Called, archive: Path, runtime: Containerd
) -> None:
    runtime.ctr("images", "import", str(archive))
    (theirs,) = [line.split() for line in runtime.ctr("images", "ls").splitlines() if line.startswith(NAME)]

    ours = called("pull", f"docker-archive:{archive}", "--stop-after", "manifest-stored", "--json").document

    assert (ours["name"], ours["digest"]) == (NAME, theirs[2])
