"""What a rollout asks of one host: parameters of its run of ``prepull``, beside the images with their digests.

Whoever can create runs can write one, so the host checks all of it by its own settings; it holds no secrets.
"""

from pydantic import Field

from prestow.fleet.document import Document
from prestow.fleet.file import HandOver, HostName, SetName


class Order(Document):
    """Parameters of a run that the fleet makes.

    Attributes:
        host: whose run it is: another host refuses it.
        set: name of the image set, to which the images belong from now on.
        rollout: ID of the rollout.
        attempt: which try of this rollout at this host it is, from 1.
        free_bytes: of the disk that must stay free; more than the host's own settings ask for.
        generations: of the set whose images stay.
        unused_seconds: without use, after which an image of an earlier generation goes; None: never.
        pin: whether a lease protects the images until the set drops them.
        hand_over: whether the host's container runtime gets the images; the run fails if it would not use them.
    """

    host: HostName
    set: SetName
    generation: int = Field(ge=1)
    rollout: str = Field(pattern="^[0-9a-f-]{8,40}$")
    attempt: int = Field(1, ge=1, le=100)
    free_bytes: int = Field(0, ge=0)
    generations: int = Field(2, ge=1, le=100)
    unused_seconds: float | None = Field(None, gt=0)
    pin: bool = True
    hand_over: HandOver = HandOver()
