"""A PostgreSQL cluster in memory, for Prefect servers that have more than one host to serve; it listens on no port.

It wants a user of its own, who is not root, so nothing of it lies below folders that are root's alone.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

_PROGRAMS = Path("/usr/lib/postgresql")
_USER = "postgres"  # Debian's package makes it
_MEMORY = Path("/dev/shm")
_QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=200")


def _program(name: str) -> str:
    """Return the path of a program of the newest version; Debian has them off PATH."""
    return str(max(_PROGRAMS.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3])))


@contextmanager
def postgres() -> Iterator[str]:
    """Run an empty cluster, and yield the URL of a database of it as Prefect's server wants it."""
    folder = Path(mkdtemp(prefix="prestow-postgres-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None))
    shutil.chown(folder, _USER)
    try:
        data, log = folder / "data", folder / "log"
        initdb = [_program("initdb"), "-D", str(data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-sync"]
        environment = {"LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
        subprocess.run(initdb, user=_USER, group=_USER, cwd=folder, env=environment, check=True, capture_output=True)
        settings = [word for setting in _QUICK for word in ("-c", setting)]
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [_program("postgres"), "-D", str(data), "-k", str(folder), *settings],
                user=_USER, group=_USER, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output,
            ) as process,
        ):  # fmt: skip
            try:
                _wait(folder, process, log)
                yield f"postgresql+asyncpg://{_USER}@/postgres?host={folder}"
            finally:
                process.send_signal(signal.SIGINT)  # does not wait for clients
    finally:
        shutil.rmtree(folder)


def _wait(folder: Path, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the cluster answers."""
    asked = [_program("pg_isready"), "-q", "-h", str(folder), "-t", "60"]
    while subprocess.run(asked, check=False).returncode:
        if process.poll() is not None:
            raise RuntimeError(f"postgres did not start:\n{log.read_text(errors='replace')}")
