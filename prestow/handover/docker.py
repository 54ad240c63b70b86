"""Docker as a runtime that images are handed over to: with its containerd image store, that is its containerd.

Docker is asked where that containerd is, and afterwards whether it knows the image. Its older store, of graph drivers,
takes images only by `docker load`, with a second copy of everything.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from prestow.content.blobs import Blobs
from prestow.errors import RuntimeFailedError, UnsupportedError, printable
from prestow.handover.containerd.runtime import Containerd
from prestow.handover.containerd.snapshots import Files
from prestow.handover.program import ask
from prestow.handover.runtime import Look, Offer, Proof

_CONTAINERD_STORE = ["driver-type", "io.containerd.snapshotter.v1"]
_NAMESPACE = "moby"


@dataclass(frozen=True, slots=True)
class DockerInfo:
    """What docker says of itself.

    Attributes:
        version: of its daemon.
        address: socket of its containerd; None if it does not say.
        namespace: of its containers and images there.
        snapshotter: which they use.
    """

    version: str
    address: Path | None
    namespace: str
    snapshotter: str


class Docker(Containerd):
    """Implements :class:`prestow.handover.runtime.Runtime` for the images of a docker."""

    runtime = "docker"

    def __init__(self, info: DockerInfo, address: Path, content: Blobs, files: Callable[[], Files | None]) -> None:
        """Connect at the first call.

        Args:
            info: what docker said of itself.
            address: socket of its containerd.
            content: our blobs.
            files: opens our snapshotter, if links to its files are possible; that may take a trial.
        """
        super().__init__(info.address or address, info.namespace, content, files, info.snapshotter)
        self._info = info

    def look(self) -> Look:
        """Ask what it is."""
        return replace(super().look(), runtime=self.runtime, version=self._info.version)

    def prove(self, offers: Sequence[Offer], *, patient: bool = False) -> list[Proof]:
        """Ask its containerd, and docker itself, whether it would use these images."""
        return [
            _with_docker(offer, proof) if proof.holds else proof
            for offer, proof in zip(offers, super().prove(offers, patient=patient), strict=True)
        ]


def docker_info() -> DockerInfo:
    """Ask docker what it is.

    Raises:
        UnsupportedError: it is not installed, or keeps its images where they cannot be handed over to.
        RuntimeFailedError: it does not answer.
    """
    found = _json(ask("docker", "info", "--format", "{{json .}}"))
    errors = found.get("ServerErrors")
    if errors:
        raise RuntimeFailedError(f"docker info: {printable('; '.join(map(str, errors)))}")
    driver = printable(str(found.get("Driver")), 40)
    if _CONTAINERD_STORE not in (found.get("DriverStatus") or []):
        raise UnsupportedError(
            f"docker keeps its images in a store of its own, driver {driver}, which takes images only as copies; "
            'turn on its containerd image store ("features": {"containerd-snapshotter": true} in '
            "/etc/docker/daemon.json), or copy by `prestow export NAME -o FILE` and `docker load -i FILE`"
        )
    where: Mapping[str, Any] = found.get("Containerd") or {}
    namespace = (where.get("Namespaces") or {}).get("Containers") or _NAMESPACE
    address = where.get("Address")
    return DockerInfo(
        printable(str(found.get("ServerVersion")), 40), Path(address) if address else None, str(namespace), driver
    )


def _with_docker(offer: Offer, proof: Proof) -> Proof:
    """Ask docker for an image that its containerd has."""
    name = offer.names[-1]
    found = _json(ask("docker", "image", "inspect", name, missing=True))
    if not found:
        return replace(proof, faults=(f"docker does not know {name}",))
    known = str(found[0].get("Id"))
    if known not in (offer.image.target.digest, offer.image.manifest.digest, offer.image.config.digest):
        return replace(proof, faults=(f"{name} is another image for docker, {printable(known)}",))
    return proof


def _json(text: str) -> Any:
    try:
        return json.loads(text or "null")
    except ValueError as error:
        raise RuntimeFailedError(f"docker: expected JSON, not {printable(text, 80)!r}") from error
