"""A rollback that holds: which generation of a set is applied until it is released, whatever the lock says."""

from pydantic import AwareDatetime, Field

from prestow.fleet.document import Document


class Hold(Document):
    """A generation that holds.

    Attributes:
        since: when the rollback was asked for.
        reason: why, in a person's words; may be empty.
    """

    generation: int = Field(ge=1)
    since: AwareDatetime
    reason: str = Field("", max_length=500)
