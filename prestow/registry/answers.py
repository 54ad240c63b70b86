"""What a registry's answer about a manifest says of it: its headers where they tell enough, else its bytes."""

from prestow.digest import Digest
from prestow.errors import InvalidError, MismatchError, PrestowError, printable
from prestow.oci.descriptor import Descriptor
from prestow.oci.document import MAX_DOCUMENT
from prestow.oci.mediatypes import INDEXES, MANIFESTS, SCHEMA_1
from prestow.oci.walk import parse_document
from prestow.registry.http import Response

DOCUMENTS = frozenset(MANIFESTS + INDEXES)


def described(response: Response, pinned: Digest | None) -> Descriptor | None:
    """Return what the headers of an answer tell; ``None`` if that is not all."""
    digest = _claimed(response)
    if pinned is not None and (digest is None or digest.algorithm != pinned.algorithm):
        digest = pinned
    if pinned is not None and digest != pinned:
        raise MismatchError(f"{response.request.url}: asked for {pinned}, the registry has {digest}")
    if digest is None or not response.length or response.media_type not in DOCUMENTS:
        return None
    return Descriptor(response.media_type, digest, response.length)


def read(response: Response, pinned: Digest | None) -> Descriptor:
    """Return the descriptor of the document in an answer; its bytes are what counts."""
    raw = response.read(MAX_DOCUMENT)
    claimed = _claimed(response)
    for expected in filter(None, (pinned, claimed)):
        found = Digest.of(raw, expected.algorithm)
        if found != expected:
            raise MismatchError(f"{response.request.url}: expected {expected}, found {found}")
    media_type = response.media_type
    known = media_type in DOCUMENTS or media_type in SCHEMA_1
    try:
        document = parse_document(raw, media_type if known else None)
    except InvalidError as error:
        raise InvalidError(
            f"{response.request.url}: expected an image manifest, found {printable(media_type) or 'no type'}: {error}"
        ) from error
    return Descriptor(document.media_type, pinned or claimed or document.digest, len(raw))


def _claimed(response: Response) -> Digest | None:
    """Return ``Docker-Content-Digest``, if it is a digest that can be verified here."""
    text = response.header("Docker-Content-Digest")
    try:
        return Digest.parse(text) if text else None
    except PrestowError:
        return None
