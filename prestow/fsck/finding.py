"""A disagreement between the books and the disk, and what makes them agree again."""

from collections.abc import Callable
from dataclasses import dataclass

from prestow.errors import CancelledError, PrestowError
from prestow.fsck.repair import Outcome
from prestow.metadata.container_files import ContainerRecord
from prestow.metadata.namespace import DEFAULT
from prestow.snapshots.damage import Damage


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement.

    Attributes:
        damage: what it is.
        how: what ``mend`` does, said as something done; or, without it, why nothing can be done, and what a person may.
        mend: makes it right.
    """

    damage: Damage
    how: str
    mend: Callable[[], object] | None = None

    def mended(self) -> Outcome:
        """Make it right, if that is possible, and tell what became of it."""
        if self.mend is None:
            return Outcome(self.damage, "", self.how)
        try:
            self.mend()
        except CancelledError:
            raise
        except PrestowError as error:
            return Outcome(self.damage, "", str(error))
        return Outcome(self.damage, self.how)


def made_again(record: ContainerRecord) -> str:
    """Say how a container of which something is lost comes back."""
    namespace = "" if record.namespace == DEFAULT else f" --namespace {record.namespace}"
    return f"remove the container with `prestow containers rm {record.id}{namespace}`, and recreate it"
