"""Descriptors: what a blob is, its digest and its size (image-spec, descriptor.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from prestow.digest import Digest
from prestow.platforms import Platform


@dataclass(frozen=True, slots=True)
class Descriptor:
    """One edge of the image's graph.

    Attributes:
        media_type: type of the target.
        digest: digest of the target's bytes as they travel.
        size: their number.
        platform: in an index, the platform that a manifest is for.
        annotations: the publisher's words; data, never instructions.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
