"""Names in documents of the fleet: of hosts, sets, labels, platforms and images; each is checked when it is read."""

from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from prestow.errors import PrestowError
from prestow.fleet.document import Matches
from prestow.fleet.versions import TagPattern
from prestow.platforms import Platform
from prestow.reference import Reference

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?"


def _platform(text: str) -> str:
    try:
        return str(Platform.parse(text).normalised())
    except PrestowError as error:
        raise ValueError(str(error)) from error


def _image(text: str) -> str:
    """Check an image of a set; a tag may have ``*`` for parts of a version."""
    name, _, tag = text.rpartition(":")
    if "*" in (name if "/" not in tag else text):
        raise ValueError("expected * in the tag only, for parts of a version, such as registry.example/app:1.8.*")
    try:
        Reference.parse(f"{name}:0" if "*" in tag else text)
        if "*" in tag:
            TagPattern.parse(tag)
    except PrestowError as error:
        raise ValueError(str(error)) from error
    return text


HostName = Annotated[
    str,
    Matches(
        r"^[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?$",
        "a host name: lower-case letters, digits, - and ., a letter or digit at both ends, at most 63 characters",
    ),
]
"""Name of a host; its queue and its worker have the same."""


def key_of(host: str) -> str:
    """Return the name of a host as keys of artifacts have it: without dots."""
    return host.replace(".", "-")


SetName = Annotated[
    str,
    Matches(
        r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$",
        "the name of an image set: lower-case letters, digits and -, a letter or digit at both ends, at most 40",
    ),
]
"""Name of an image set."""
PlatformName = Annotated[str, AfterValidator(_platform)]
ImageReference = Annotated[str, StringConstraints(max_length=512), AfterValidator(_image)]
Label = Annotated[
    str,
    Matches(
        f"^{_LABEL}$",
        "the key of a label: letters, digits and _ . / -, a letter or digit at both ends, at most 63 characters",
    ),
]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=128)]
"""A shell pattern."""
