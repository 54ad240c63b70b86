"""Which of some known words may be meant by one that is none of them."""

from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean X?``, the end of an error, with the nearest known word; empty if none is near."""
    from difflib import get_close_matches  # for an error only

    spellings = {each.lstrip("-").lower(): each for each in known}
    near = get_close_matches(word.lstrip("-").lower(), spellings, 1)
    return f"; did you mean {spellings[near[0]]}?" if near else ""
