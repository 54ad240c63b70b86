"""What a host lacks of a set, by its last report: images, and the layers that neither it nor an image before brings."""

from collections.abc import Sequence
from functools import lru_cache

from prestow.fleet.file import HandOver, Host
from prestow.fleet.lock import LockedImage, LockedLayer, LockedSet, short
from prestow.fleet.report import ONLY_STORED, Report
from prestow.platforms import Platform, choose


class Missing:
    """What a host lacks of a set.

    Attributes:
        platform: of the host.
        images: that are not there.
        layers: of each of them, those that neither the host has nor an image before it brings.
        foreign: those of which the lock has no platform that the host runs.
    """

    def __init__(self, locked: LockedSet, host: Host, report: Report, hand_over: HandOver = ONLY_STORED) -> None:
        """Compare a set with the report of a host; ``hand_over``: what its runtime does not have so is missing."""
        self.report = report
        self.platform = host.platform or report.platform
        found = {(image.name, image.digest) for image in report.images if image.serves(hand_over)}
        seen = {*report.layers}
        self.images = []
        for image in locked.images:
            if (image.name, image.digest) in found:
                seen.update(short(layer.diff_id) for layer in self._of(image) or ())
            else:
                self.images.append(image)
        self.foreign = [image for image in self.images if self._of(image) is None]
        self.layers: list[list[LockedLayer]] = []
        for image in self.images:
            self.layers.append([])
            for layer in self._of(image) or ():
                if short(layer.diff_id) not in seen:
                    seen.add(short(layer.diff_id))
                    self.layers[-1].append(layer)

    @property
    def every_layer(self) -> list[LockedLayer]:
        """The layers of all images, each once."""
        return [layer for layers in self.layers for layer in layers]

    def _of(self, image: LockedImage) -> Sequence[LockedLayer] | None:
        """Return the layers of an image for the host; None if the lock has none that it runs."""
        name = _suitable(self.platform, tuple(image.platforms))
        return None if name is None else image.platforms[name].layers


@lru_cache(1024)
def _suitable(platform: str, offered: tuple[str, ...]) -> str | None:
    """Return which of the platforms offered a host runs best."""
    at = choose(Platform.parse(platform), [Platform.parse(name) for name in offered])
    return None if at is None else offered[at]
