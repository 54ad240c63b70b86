"""References as people paste them from elsewhere: URLs, paths, and the transports of skopeo and podman.

None of them is a reference here; each is refused with the form that is one. Without this, ``docker-daemon:alpine``
would be an image ``docker-daemon`` of Docker Hub.
"""

import re

from prestow.errors import InvalidError, UnsupportedError, printable

_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*://)(?P<rest>[^?#]*).*", re.DOTALL)
_HUB_PAGE = re.compile(r"hub\.docker\.com/(?:_/|r/)(?P<name>.+?)(?:/tags)?")
_LAYOUT_URL = "oci:///"
"""A layout's absolute path may be written like a URL."""
_ARCHIVES = (".tar", ".tar.gz", ".tgz")
_TRANSPORTS = frozenset({"containers-storage", "dir", "docker-daemon"})


def refuse_other_forms(text: str) -> None:
    """Check that a text is not one of the forms that only other tools understand.

    Raises:
        InvalidError: it is a URL or a path; the message has the form that is right here.
        UnsupportedError: it names a transport that prestow does not read.
    """
    said = f"reference {printable(text)!r}:"
    if (url := _URL.fullmatch(text)) and not text.startswith(_LAYOUT_URL):
        rest = url["rest"].strip("/")
        page = _HUB_PAGE.fullmatch(rest)
        right = page["name"] if page else rest
        raise InvalidError(
            f"{said} leave out {printable(url['scheme'])}; write {printable(right) or '[domain/]name[:tag]'}"
        )
    transport, colon, _ = text.partition(":")
    if text.startswith(("/", "./", "../")) or (not colon and text.endswith(_ARCHIVES)):
        path = printable(text)
        raise InvalidError(
            f"{said} a path is no reference; write oci:{path}, or docker-archive:{path} for a file of `docker save`"
        )
    if colon and transport in _TRANSPORTS:
        raise UnsupportedError(
            f"{said} the transport {transport} is not supported; copy the image into a layout first, with "
            f"`skopeo copy {printable(text)} oci:DIR`, and pull oci:DIR"
        )
