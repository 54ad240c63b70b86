"""The step *resolve*: from a name to the descriptor that it points to at this moment.

A tag is always asked for, since it may have moved. A digest cannot move: if its blob is here, no server is asked.
"""

from prestow.content.store import Store
from prestow.errors import MismatchError, NotFoundError
from prestow.oci.descriptor import Descriptor
from prestow.oci.walk import parse_document
from prestow.reference import LayoutReference, Reference
from prestow.registry.source import Resolver


def resolve(source: Resolver, content: Store, reference: Reference | LayoutReference) -> Descriptor:
    """Return the descriptor of a reference's index or manifest.

    Raises:
        NotFoundError: there is none of that name.
        UnauthorizedError: who we are may not know.
        UnavailableError: no server answers.
        InvalidError: the answer breaks a rule.
        MismatchError: a digest was asked for, and answered with another.
    """
    digest = None if isinstance(reference, LayoutReference) else reference.digest
    if digest is not None:
        try:
            raw = content.read(digest)
        except (NotFoundError, MismatchError):
            return source.resolve()
        return Descriptor(parse_document(raw, None).media_type, digest, len(raw))
    return source.resolve()
