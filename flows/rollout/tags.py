"""The tags by which the runs of a rollout are found again, whatever process made them."""

from collections.abc import Iterable

_SET, _GENERATION, _ROLLOUT = "prestow.set:", "prestow.generation:", "prestow.rollout:"
_HOST, _ATTEMPT, _WITHOUT = "prestow.host:", "prestow.attempt:", "prestow.without:"


def of_set(name: str) -> str:
    """Return the tag of an image set's runs."""
    return f"{_SET}{name}"


def of_rollout(rollout: str) -> str:
    """Return the tag of a rollout's runs."""
    return f"{_ROLLOUT}{rollout}"


def of_coordinator(image_set: str, generation: int, rollout: str) -> list[str]:
    """Return the tags of a coordinator's run."""
    return [of_set(image_set), f"{_GENERATION}{generation}", of_rollout(rollout)]


def of_host(host: str, attempt: int) -> list[str]:
    """Return the tags that a host's run has besides."""
    return [f"{_HOST}{host}", f"{_ATTEMPT}{attempt}"]


def of_exclusions(hosts: Iterable[str]) -> list[str]:
    """Return the tags that a coordinator's run has of hosts that a person left out."""
    return [f"{_WITHOUT}{host}" for host in hosts]


def exclusions(tags: Iterable[str]) -> frozenset[str]:
    """Read the hosts that a person left out."""
    return frozenset(tag.removeprefix(_WITHOUT) for tag in tags if tag.startswith(_WITHOUT))


def generation(tags: Iterable[str]) -> int | None:
    """Read the generation of a run; None if it has none."""
    found = _value(tags, _GENERATION)
    return int(found) if found is not None and found.isdecimal() else None


def rollout(tags: Iterable[str]) -> str | None:
    """Read the rollout of a run; None if it has none."""
    return _value(tags, _ROLLOUT)


def host_and_attempt(tags: Iterable[str]) -> tuple[str, int] | None:
    """Read whose run it is, and which attempt; None if it is no run of a host."""
    tags = list(tags)
    host, attempt = _value(tags, _HOST), _value(tags, _ATTEMPT)
    return (host, int(attempt)) if host and attempt and attempt.isdecimal() else None


def _value(tags: Iterable[str], prefix: str) -> str | None:
    return next((tag.removeprefix(prefix) for tag in sorted(tags) if tag.startswith(prefix)), None)
