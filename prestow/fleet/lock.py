"""The lock file: what each reference of a set points to, asked once; the same bytes for every host.

    # fleet.lock.yaml
    version: 1
    sets:
      nightly:
        generation: 12
        images:
        - reference: registry.example/serve:1.8.*       as the fleet file has it
          name: registry.example/serve:1.8.4            the name that the hosts give it
          digest: sha256:…                              of the target, an index or a manifest
          platforms:
            linux/amd64:
              digest: sha256:…                          of the manifest
              layers: [{digest: sha256:…, size: 123, diff_id: sha256:…}]

Images are in the order of the fleet file, platforms in that of their names, so that a change is a short difference. A
set whose images change gets the next generation; a set that stays as it was keeps its own.
"""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, Field

from prestow.digest import Digest
from prestow.errors import NotFoundError, PreconditionError, PrestowError
from prestow.fleet.document import Document
from prestow.fleet.file import ImageReference, ImageSet, PlatformName, SetName
from prestow.reference import Reference

_HEADER = "# Written by `prestow fleet lock`; keep it in git beside the fleet file.\n"
_SHORT = 16


def _digest(text: str) -> str:
    try:
        return str(Digest.parse(text))
    except PrestowError as error:
        raise ValueError(str(error)) from error


def _name(text: str) -> str:
    try:
        parsed = Reference.parse(text)
    except PrestowError as error:
        raise ValueError(str(error)) from error
    if parsed.digest is not None and parsed.tag is not None:
        raise ValueError("expected a name with a tag or a digest")
    return str(parsed)


DigestText = Annotated[str, AfterValidator(_digest)]
ImageName = Annotated[str, AfterValidator(_name)]


def short(diff_id: str) -> str:
    """Return the first hex digits of a digest, by which reports name layers."""
    return diff_id.partition(":")[2][:_SHORT]


def lock_path(path: Path) -> Path:
    """Return where the lock of a fleet file is: ``fleet.lock.yaml`` beside ``fleet.yaml``."""
    return path.with_name(f"{path.stem}.lock.yaml")


class LockedLayer(Document):
    """A layer: its compressed digest and size in bytes, and the digest of its tar."""

    digest: DigestText
    size: int = Field(ge=0)
    diff_id: DigestText


class LockedPlatform(Document):
    """An image for one platform: the digest of its manifest, and its layers, lowest first."""

    digest: DigestText
    layers: tuple[LockedLayer, ...]

    @property
    def size(self) -> int:
        """Compressed bytes of its layers; one that is there twice counts once."""
        return sum({layer.digest: layer.size for layer in self.layers}.values())


class LockedImage(Document):
    """What a reference points to."""

    reference: ImageReference
    name: ImageName
    digest: DigestText
    platforms: Mapping[PlatformName, LockedPlatform] = Field(min_length=1)

    @property
    def pinned(self) -> str:
        """The name with the digest, as a host pulls it."""
        return f"{self.name.partition('@')[0]}@{self.digest}"


class LockedSet(Document):
    """The images of a set in one generation."""

    generation: int = Field(ge=1)
    images: tuple[LockedImage, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        """A digest of all that it says, generation included."""
        return f"sha256:{sha256(self.model_dump_json().encode()).hexdigest()}"


class Lock(Document):
    """The whole file, ``fleet.lock.yaml`` beside ``fleet.yaml``."""

    version: Literal[1] = 1
    sets: Mapping[SetName, LockedSet] = Field(default_factory=dict)

    def of(self, name: str, image_set: ImageSet) -> LockedSet:
        """Return the set ``name``, of which the file says ``image_set``.

        Raises:
            NotFoundError: it is not locked.
            PreconditionError: the file has other images now than those that were locked.
        """
        locked = self.sets.get(name)
        if locked is None:
            raise NotFoundError(f"image set {name} is not in the lock; run `prestow fleet lock`")
        if [image.reference for image in locked.images] != list(image_set.images):
            raise PreconditionError(
                f"image set {name}: the lock has other images than the fleet file; run `prestow fleet lock`"
            )
        return locked

    def text(self) -> str:
        """Return it as the file has it: the same value is the same text."""
        value = self.model_dump(mode="json")
        value["sets"] = {name: value["sets"][name] for name in sorted(value["sets"])}
        for each in value["sets"].values():
            for image in each["images"]:
                image["platforms"] = {name: image["platforms"][name] for name in sorted(image["platforms"])}
        return _HEADER + yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=1000)
