"""Limits: what a layer, or an image, may make this host do, checked while it streams, before disk or memory is full."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from prestow.errors import ExhaustedError

GRACE = 64 << 20
"""Decompressed bytes that need no justification by compressed ones."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a layer may be at most; the defaults are those of the settings of the same meaning.

    Attributes:
        max_layer_bytes: decompressed bytes; also the sum of its files' sizes, holes included.
        max_ratio: decompressed bytes for each compressed one, beyond the first 64 MiB.
        max_entries: members of its tar.
        max_depth: directories inside directories.
        max_header_bytes: bytes of one extended header or sparse map.
        together: told how many bytes the layer has been decompressed to; raises when its image has too many of them.
    """

    max_layer_bytes: int = 64 << 30
    max_ratio: int = 1032
    max_entries: int = 2_000_000
    max_depth: int = 256
    max_header_bytes: int = 1 << 20
    together: Callable[[int], None] | None = None

    def most_bytes(self, compressed: int) -> int:
        """Return how many bytes a blob of ``compressed`` bytes may decompress to."""
        return min(self.max_layer_bytes, max(GRACE, compressed * self.max_ratio))

    def check_bytes(self, decompressed: int, compressed: int) -> None:
        """Refuse more bytes than that.

        Raises:
            ExhaustedError: naming the limit that was passed.
        """
        if decompressed > self.max_layer_bytes:
            raise ExhaustedError(
                f"layer: more than {self.max_layer_bytes} bytes when decompressed; raise max_layer_bytes to allow it"
            )
        if decompressed > self.most_bytes(compressed):
            raise ExhaustedError(
                f"layer: {compressed} bytes decompress to more than {self.max_ratio} times as many; "
                "raise max_layer_ratio to allow it"
            )
        if self.together is not None:
            self.together(decompressed)


class Budget:
    """What the layers of one image may be together, decompressed; safe to use from several threads."""

    def __init__(self, most: int) -> None:
        """Allow ``most`` bytes, of which none are spent."""
        self._most = most
        self._spent: dict[str, int] = {}
        self._lock = threading.Lock()

    def spend(self, layer: str, count: int) -> None:
        """Note how many bytes a layer has come to; those that were noted of it before are among them.

        Raises:
            ExhaustedError: with the other layers' they are too many.
        """
        with self._lock:
            self._spent[layer] = count
            spent = sum(self._spent.values())
        if spent > self._most:
            raise ExhaustedError(
                f"image: its layers are more than {self._most} bytes when decompressed; "
                "raise max_image_bytes to allow it"
            )
