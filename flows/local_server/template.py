"""The database of a new server, laid from the schema that Prefect's migrations lead to: a moment instead of seconds.

``schema.sql`` is what the migrations of the oldest Prefect that ``pyproject.toml`` allows lead to, and names the last
of them: an older Prefect could not read a schema from its future. A server applies the migrations of its Prefect that
are newer when it starts, so a newer Prefect finds what an upgrade finds. ``make schema`` writes the file with that
oldest Prefect; a test lays it, migrates it with the installed one, and compares that with a fresh migration.
"""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

SCHEMA = Path(__file__).with_name("schema.sql")


def lay(database: Path) -> None:
    """Make the database unless there is one; durable, and whole or not there at all.

    Raises:
        OSError: the disk failed; likewise sqlite3.Error.
    """
    if database.exists():
        return
    draft = database.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    with closing(sqlite3.connect(draft)) as connection:
        connection.executescript(SCHEMA.read_text("utf-8"))
    draft.replace(database)


def dump(database: Path) -> str:
    """Return the statements that make a database's tables, indexes and rows, a line each or more."""
    with closing(sqlite3.connect(database)) as connection:
        lines = "\n".join(connection.iterdump()).splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def migrate(database: Path) -> None:
    """Let the installed Prefect make a database, or bring it up to date, with all of its migrations.

    Raises:
        subprocess.CalledProcessError: they failed.
    """
    program = [sys.executable, "-P", "-m", "prefect", "server", "database", "upgrade", "--yes"]
    variables = {
        "PATH": os.defpath,
        "HOME": str(database.parent),
        "PREFECT_HOME": str(database.parent),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{database}",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PYTHONHASHSEED": "0",  # the order of constraints comes from sets
    }
    subprocess.run(program, env=variables, check=True, stdout=subprocess.DEVNULL)


def fresh() -> str:
    """Return the statements to which the installed Prefect's migrations lead; takes seconds."""
    with TemporaryDirectory() as folder:
        database = Path(folder, "prefect.db")
        migrate(database)
        return dump(database)


if __name__ == "__main__":
    SCHEMA.write_text(fresh(), "utf-8")
