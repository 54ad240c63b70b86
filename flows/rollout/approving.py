"""Approval between two waves: a person sees what the wave did and what the next one will do, and decides."""

from collections.abc import Sequence

from pydantic import Field

from flows.forms.markdown import code
from flows.runs.approval import Approval, answered
from prestow.fleet.verdict import HostVerdict, Verdict
from prestow.fleet.waves import Wave

_SECONDS = 7 * 86400
_NAMED = 20


class NextWave(Approval):
    """The form."""

    without: str = Field(
        default="",
        title="Without",
        description="Hosts to leave out of all further waves, separated by commas",
        max_length=4000,
    )


def approve(rollout: str, wave: Wave, following: Wave, verdicts: Sequence[HostVerdict]) -> frozenset[str]:
    """Hold the coordinator's run until a person lets the next wave begin; return the hosts to leave out.

    Raises:
        CancelledError: the person stopped the rollout.
        PreconditionError: the API does not hold this run.
    """
    answer = answered(
        NextWave,
        f"wave-{wave.number}-{rollout}",
        description(wave, following, verdicts),
        f"after wave {wave.number} of {wave.of}",
        f"wave {wave.number}",
        _SECONDS,
    )
    return frozenset(host.strip() for host in answer.without.split(",") if host.strip())


def description(wave: Wave, following: Wave, verdicts: Sequence[HostVerdict]) -> str:
    """Return what the form says, as Markdown."""
    counts = {each: sum(host.verdict is each for host in verdicts) for each in Verdict}
    done = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    bad = [host for host in verdicts if host.verdict is not Verdict.DONE]
    rows = [f"| {code(each.host)} | {each.verdict} | {code(each.cause)} |" for each in bad[:_NAMED]]
    more = [f"\nand {len(bad) - _NAMED} more"] if len(bad) > _NAMED else []
    table = ["", "| host | verdict | cause |", "|---|---|---|", *rows, *more] if bad else []
    named = ", ".join(code(host) for host in following.hosts[:_NAMED])
    rest = f" and {len(following.hosts) - _NAMED} more" if len(following.hosts) > _NAMED else ""
    return "\n".join(
        [
            f"**Wave {wave.number} of {wave.of}** · {len(wave.hosts)} hosts: {done}",
            *table,
            "",
            f"**Next: wave {following.number}** · {len(following.hosts)} hosts: {named}{rest}",
        ]
    )
