"""How many requests a registry says it will still answer: its quota, from the headers of an answer.

    RateLimit-Limit: 100;w=21600        RateLimit-Remaining: 76;w=21600        docker-ratelimit-source: 192.0.2.1
    RateLimit-Limit: 100, 100;w=60      RateLimit-Remaining: 76                RateLimit-Reset: 30
    RateLimit-Policy: 100;w=60          RateLimit: limit=100, remaining=76, reset=30
    RateLimit-Policy: "a";q=100;w=60    RateLimit: "a";r=76;t=30

The first line is what Docker Hub sends, the others are drafts 6, 7 and 10 of draft-ietf-httpapi-ratelimit-headers. What
makes no sense counts as absent: a quota is news, and no reason to fail.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prestow.errors import printable

_LARGEST = 1000  # characters of a header that are read
_SOURCE = 64  # characters
_LONGEST = 366 * 24 * 3600  # seconds; GitLab sends the time of day instead, which is far more
_NUMBER = r"([0-9]{1,12})"


@dataclass(frozen=True, slots=True)
class Quota:
    """What is left of a quota.

    Attributes:
        remaining: requests that are left; Docker Hub counts pulls.
        limit: requests in all, within ``window``.
        window: seconds of the whole period.
        reset: seconds until the quota is renewed.
        source: whose quota it is: an address, or the ID of an account.
    """

    remaining: int
    limit: int | None = None
    window: int | None = None
    reset: int | None = None
    source: str | None = None


def parse_quota(header: Callable[[str], Sequence[str]]) -> Quota | None:
    """Return the quota of an answer; ``None`` where it tells none.

    Args:
        header: gives all values of a header.
    """

    def text(name: str) -> str:
        return ", ".join(header(name))[:_LARGEST]

    together, policy = text("RateLimit"), text("RateLimit-Policy")
    limit, left = text("RateLimit-Limit"), text("RateLimit-Remaining")
    remaining = _first(left, "") if left else _first(together, "remaining", "r")
    if remaining is None:
        return None
    reset = _or(_first(text("RateLimit-Reset"), ""), _first(together, "reset", "t"))
    return Quota(
        remaining,
        _or(_first(limit, ""), _first(together, "limit"), _first(policy, "q"), _first(policy, "")),
        _or(_first(limit, "w"), _first(left, "w"), _first(policy, "w")),
        reset if reset is not None and reset <= _LONGEST else None,
        printable(text("docker-ratelimit-source"), _SOURCE) or None,
    )


def _first(text: str, *names: str) -> int | None:
    """Return the number of the first parameter of one of these names; that at the beginning has none."""
    for name in names:
        place = rf"(?:^|[;,\s]){name}=" if name else r"^\s*"
        found = re.search(rf"{place}{_NUMBER}\s*(?:$|[;,\s])", text, re.ASCII)
        if found:
            return int(found[1])
    return None


def _or(*numbers: int | None) -> int | None:
    return next((number for number in numbers if number is not None), None)
