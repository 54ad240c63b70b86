"""The database of a new server is the one that Prefect's own migrations make, with each Prefect that we allow."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import prefect
import pytest

from flows.local_server.template import SCHEMA, dump, fresh, lay, migrate

SQLITE_MIGRATIONS = Path(prefect.__file__).parent / "server/database/_migrations/versions/sqlite"


def statements(text: str) -> list[list[str]]:
    """Return each statement as its lines, in whatever order: constraints and indexes have none."""

    def each() -> Iterator[list[str]]:
        for statement in text.replace('"', "").split(";\n"):
            yield sorted(" ".join(line.split()).rstrip(", ") for line in statement.splitlines() if line.strip())

    return sorted(each())


@pytest.mark.long
def test_the_template_migrated_by_the_installed_prefect_is_what_a_fresh_migration_makes(tmp_path: Path) -> None:
    database = tmp_path / "prefect.db"
    lay(database)
    migrate(database)

    assert statements(dump(database)) == statements(fresh()), "run `make schema`"


def test_no_allowed_prefect_is_older_than_the_template() -> None:
    """Else its server would not start: it refuses a schema that it has no migration for."""
    known = " ".join(path.stem for path in SQLITE_MIGRATIONS.glob("*.py")).replace("_", " ").split()
    (last,) = re.findall(r"""INSERT INTO "alembic_version" VALUES\('(\w+)'\)""", SCHEMA.read_text())

    assert last in known


def test_a_new_database_has_what_the_template_says(tmp_path: Path) -> None:
    database = tmp_path / "prefect.db"
    database.with_suffix(".draft").write_text("of one who was killed")
    lay(database)

    assert dump(database) == SCHEMA.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["prefect.db"]


def test_a_database_that_is_there_is_left_alone(tmp_path: Path) -> None:
    database = tmp_path / "prefect.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE mine (a)")
    before = database.read_bytes()
    lay(database)

    assert database.read_bytes() == before
