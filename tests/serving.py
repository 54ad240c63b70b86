"""``prestow serve`` as a process."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.flows.cli.conftest import Prestow
from tests.processes import Child


@dataclass(frozen=True)
class Serving:
    """A server that runs."""

    process: Child[str]
    domain: str

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, as host and port."""
        host, _, port = self.domain.rpartition(":")
        return host.strip("[]"), int(port)


@contextmanager
def serving(
    command: Prestow, *arguments: str, end: int = signal.SIGTERM, said: str = "", **options: Any
) -> Iterator[Serving]:
    """Serve for the block; the signal must then end it well, and all it ``said`` before is that."""
    with command.start("serve", "--json", "--listen", "127.0.0.1:0", *arguments, **options) as process:
        assert process.stdout is not None
        try:
            document = ""
            while not document.endswith("}\n"):
                line = process.stdout.readline()
                assert line, process.stderr and process.stderr.read()
                document += line
            yield Serving(process, json.loads(document)["listen"])
        finally:
            process.send_signal(end)
            out, err = process.communicate()
    assert (process.returncode, out, err) == (0, "", f"{said}stopped\n")
