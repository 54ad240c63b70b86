"""Images made by other people's tools (``tests/make-images``), and what ``umoci unpack`` makes of them.

They are made once and kept in pytest's cache, or in ``PRESTOW_TEST_IMAGES``: the large ones take minutes.
"""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from tests.registries import DockerRegistry
from tests.trees import Listed, listing

VARIANTS = {
    "oci": (),
    "v2s2": ("--format", "v2s2"),
    "zstd": ("--dest-compress-format", "zstd"),
}
"""How skopeo is to push an image: as it is, as Docker's schema 2, with its layers recompressed."""


class RealImages:
    """The OCI layout that ``make-images`` writes, and its images unpacked by umoci."""

    def __init__(self, folder: Path) -> None:
        """Keep everything in ``folder``."""
        self.layout = folder / "oci"
        self._folder = folder
        self._listings: dict[str, dict[bytes, Listed]] = {}

    def make(self, tag: str) -> None:
        """Make an image, if it is not there."""
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            subprocess.run([Path(__file__).parent / "make-images", self._folder, tag], check=True, capture_output=True)

    def push(self, registry: DockerRegistry, tag: str, variant: str) -> str:
        """Push an image in one of the variants, and give its reference."""
        self.make(tag)
        target = f"{registry.domain}/real/{tag}:{variant}"
        command = ["skopeo", "copy", "-q", "--dest-tls-verify=false", *VARIANTS[variant]]
        subprocess.run([*command, f"oci:{self.layout}:{tag}", f"docker://{target}"], check=True)
        return target

    def unpacked(self, tag: str, scratch: Path) -> dict[bytes, Listed]:
        """List what umoci unpacks of an image."""
        if tag not in self._listings:
            self.make(tag)
            subprocess.run(
                ["umoci", "unpack", "--image", f"{self.layout}:{tag}", scratch], check=True, capture_output=True
            )
            self._listings[tag] = listing(scratch / "rootfs")
        return self._listings[tag]


@pytest.fixture(scope="session")
def real_images(request: pytest.FixtureRequest) -> RealImages:
    """The images of other people's tools; each is made when it is first asked for."""
    chosen = os.environ.get("PRESTOW_TEST_IMAGES")
    folder = Path(chosen) if chosen else request.config.cache.mkdir("images")
    folder.mkdir(parents=True, exist_ok=True)
    return RealImages(folder)
