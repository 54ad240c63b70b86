"""Cancelling at an exact place: where the work looks for the n-th time whether it is to end."""

from prestow.cancellation import Token


class CancelAt(Token):
    """A token that is set when somebody looks at it for the n-th time."""

    def __init__(self, looks: int) -> None:
        """Be set at so many looks, of which ``left`` are left."""
        super().__init__()
        self.left = looks

    def check(self) -> None:
        """Count, then look."""
        self.left -= 1
        if self.left == 0:
            self.cancel("enough")
        super().check()
