"""Warnings of registries (distribution-spec 1.1, "Warnings"): sentences for people, on which nothing else depends.

    Warning: 299 - "text"          RFC 7234, section 5.5; other codes and agents are those of caches

They go to the log, marked to be shown once in a run (``tasks/engine_warnings.py``).
"""

import base64
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress

from prestow.errors import printable
from prestow.registry.http import Request, Response

_log = logging.getLogger(__name__)

_VALUE = re.compile(r' *([0-9]{3}) ([^ ",]+) "((?:[^"\\]|\\.)*)"(?: "[^"]*")? *(?:,|$)', re.ASCII)
_ESCAPED = re.compile(r"\\(.)")
_LONGEST = 4096  # characters of all warnings of an answer; a registry must not send more
_SHOWN = 300  # characters of one


def report_warnings(response: Response, name: str) -> None:
    """Log what a registry warns of in an answer, except for a text that repeats a secret behind the request."""
    secrets = [*_secrets(response.request), *([response.secret] if response.secret else [])]
    for text in warnings(response.every("Warning")):
        if not any(secret in text for secret in secrets):
            _log.warning("%s warns: %s", name, printable(text, _SHOWN), extra={"once": True})


def warnings(values: Sequence[str]) -> Iterator[str]:
    """Yield the texts of a registry's warnings in ``Warning`` headers, as far as they follow the grammar."""
    every, at = ",".join(values)[:_LONGEST], 0
    while match := _VALUE.match(every, at):
        at = match.end()
        code, agent, text = match.groups()
        if (code, agent) == ("299", "-") and text:
            yield _ESCAPED.sub(r"\1", text)


def _secrets(request: Request) -> Iterator[str]:
    """Yield what a registry could repeat of the private headers that it got."""
    for _, value in request.private:
        scheme, _, proof = value.partition(" ")
        yield value
        if proof:
            yield proof
        if scheme == "Basic":
            with suppress(ValueError):
                yield base64.b64decode(proof).decode().partition(":")[2] or value
