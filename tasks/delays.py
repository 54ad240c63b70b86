"""How often something is tried again, and how long it waits before it is; steps and other callers wait alike."""

from dataclasses import dataclass
from secrets import SystemRandom

from prestow.errors import PrestowError
from prestow.registry.statuses import PATIENCE

_uniform = SystemRandom().uniform


@dataclass(frozen=True, slots=True)
class Retries:
    """How often to try, and how long to wait before trying again, in seconds.

    Attributes:
        attempts: number of attempts in all; 1 for a step that must not be repeated.
        first: wait before the second attempt; doubled for each one after it.
        cap: longest wait of our own choice.
        longest: longest wait that another side may ask for.
    """

    attempts: int = 5
    first: float = 1.0
    cap: float = 60.0
    longest: float = PATIENCE

    def attempts_for(self, error: PrestowError) -> int:
        """Return the number of attempts at what fails with this error: the error knows whether a retry can help."""
        return min(self.attempts, error.attempts or self.attempts) if error.transient else 1

    def delay(self, attempt: int, error: PrestowError) -> float | None:
        """Return the wait after the ``attempt`` (1 for the first) that failed with an error, or None to give up."""
        if attempt >= self.attempts_for(error):
            return None
        retry_after = error.retry_after
        own: float = min(self.cap, self.first * 2.0 ** (attempt - 1)) * _uniform(0.5, 1.0)
        if retry_after is None:
            return own
        if retry_after > self.longest:
            return None
        return max(own, retry_after + _uniform(0.0, self.first))


USUAL = Retries()
"""Of a step that says nothing else."""
