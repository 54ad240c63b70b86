"""The person at the terminal, who is asked whether a run that is held may go on; elsewhere, where to answer is said.

The answer may come from the Prefect UI just as well: whichever comes first counts.
"""

import sys
import time
from select import select

from flows.cli.output import say
from flows.runs.approval import Approval, Person
from prestow.cancellation import PROMPT, check, pause

_LONGEST = 1000  # characters of an answer
_QUESTION = "Approve? Answer y, or n and the reason; or answer in the Prefect UI."


def person() -> Person:
    """Return the person to ask, if there is one who reads standard error and answers on standard input."""
    here = sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty()
    return AtTerminal() if here else Elsewhere()


class Elsewhere:
    """A person at the Prefect UI."""

    def ask(self, description: str, url: str | None) -> None:
        """Show what it is about, and say where the answer is expected."""
        say(f"{description}\n\nApprove or refuse in the Prefect UI: {url or 'resume this run'}")

    def answer(self, seconds: float) -> Approval | None:
        """Let time pass."""
        pause(seconds)
        return None


class AtTerminal(Elsewhere):
    """A person at the terminal of this process."""

    def __init__(self) -> None:
        """Expect an answer."""
        self._present = True

    def ask(self, description: str, url: str | None) -> None:
        """Show what it is about, and ask."""
        say(f"{description}\n\n{_QUESTION}{f' {url}' if url else ''}")

    def answer(self, seconds: float) -> Approval | None:
        """Return the answer when there is a line of it; who closes standard input answers elsewhere."""
        end = time.monotonic() + seconds
        while self._present and (left := end - time.monotonic()) > 0:
            check()
            if select([sys.stdin], [], [], min(left, PROMPT))[0]:
                return self._read(sys.stdin.readline())
        return None if self._present else super().answer(seconds)

    def _read(self, line: str) -> Approval | None:
        self._present = bool(line)
        word, _, reason = line.strip()[:_LONGEST].partition(" ")
        if word.lower() in ("y", "yes"):
            return Approval(decision="approve", reason=reason.strip())
        if word.lower() in ("n", "no"):
            return Approval(decision="refuse", reason=reason.strip())
        say(_QUESTION if self._present else "No answer here: approve or refuse in the Prefect UI.")
        return None
