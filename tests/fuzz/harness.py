"""What the fuzzers share. They are no part of the suite; ``make fuzz`` runs each for a minute, ``FUZZ_SECONDS`` longer.

    uv run --with atheris python -m tests.fuzz.fuzz_tar -max_total_time=60 [CORPUS]

Any error but :class:`PrestowError` is a finding, and so are 5 seconds for one input and 300 MiB of memory. libFuzzer
then writes the input to a file ``crash-…``, ``timeout-…`` or ``oom-…``, which is an argument to try it again; what it
shows belongs into a test of the suite.

Coverage guides the mutations, so everything of ``prestow`` must be imported under :func:`instrumented`.
"""

import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import atheris

from prestow.errors import PrestowError

_OPTIONS = ("-timeout=5", "-rss_limit_mb=300", "-max_len=65536", "-print_final_stats=1")


def instrumented() -> AbstractContextManager[None]:
    """Import the project in this context, before anything else imports it."""
    found: AbstractContextManager[None] = atheris.instrument_imports(include=["prestow"])
    return found


def fuzz(check: Callable[[bytes], None], seeds: Iterable[bytes]) -> None:
    """Fuzz until the time is over; ``check`` raises :class:`PrestowError` for what is refused."""

    def tried(data: bytes) -> None:
        try:
            check(data)
        except PrestowError as error:
            str(error).encode()  # a message must be printable

    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds):
            (Path(folder) / f"{number:03}").write_bytes(seed)
        atheris.Setup([sys.argv[0], *_OPTIONS, *sys.argv[1:], *_corpora(folder)], tried)
        atheris.Fuzz()


def _corpora(seeds: str) -> list[str]:
    """Seeds are read and, without a corpus to write to, also written to; single files are only to be tried."""
    single = any(Path(argument).is_file() for argument in sys.argv[1:])
    return [] if single else [seeds]
