"""Times, which a tar tells in any number of digits, as the kernel tells them: seconds of 64 bits, and nanoseconds."""

SECOND = 1_000_000_000

_EARLIEST = -(2**63) * SECOND
_LATEST = 2**63 * SECOND - 1


def clamped(nanoseconds: int) -> int:
    """Give the nearest time since 1970 that the kernel can tell; a file system may know fewer and clamp again."""
    return nanoseconds if _EARLIEST <= nanoseconds <= _LATEST else min(max(nanoseconds, _EARLIEST), _LATEST)
