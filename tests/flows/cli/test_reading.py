"""Verbs that read: quick because of what they do not load, complete in JSON, harmless on a terminal."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.pull import pull
from prestow.store.node import open_node
from tests.flows.cli.conftest import PROJECT, Called, Prestow

HEAVY = {"prefect", "httpx", "httpcore", "rich", "asyncio", "zstandard", "isal"}
SETTINGS = {"pydantic", "pydantic_settings"}
UNUSED = {"inspect", "ast", "dis", "tokenize", "locale"}
"""What ``dataclasses`` and ``gettext`` import: a fifth of the time of verbs whose values are NamedTuples."""
PROGRAM = """
import sys
from prestow.__main__ import main
try:
    main()
finally:
    print(*{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def loaded(command: Prestow, *arguments: str) -> set[str]:
    """Return the top-level modules that a process has loaded when the command ends."""
    program = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(program, cwd=PROJECT, env=command.environment, check=True, capture_output=True, text=True)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("line", "unwanted"),
    [
        ("--help", HEAVY | SETTINGS),
        ("run --help", HEAVY | SETTINGS),
        ("--version", HEAVY | SETTINGS | UNUSED | {"json", "sqlite3", "hashlib"}),
        ("images", HEAVY | SETTINGS | UNUSED),
        ("images --all-namespaces --json", HEAVY | SETTINGS | UNUSED),
        ("images inspect demo", HEAVY | SETTINGS),
        ("snapshots", HEAVY | SETTINGS | UNUSED),
        ("containers", HEAVY | SETTINGS),
        ("server status", HEAVY | SETTINGS),
        ("prune --dry-run", {"prefect", "httpx", "rich"}),
        ("explain demo", {"prefect", "httpx", "rich"}),
        ("doctor", {"prefect", "httpx", "rich"}),
        ("fleet schema", HEAVY),
    ],
)
def test_a_verb_that_reads_loads_nothing_that_it_does_not_need(
    alone: Prestow, demo: str, line: str, unwanted: set[str]
) -> None:
    assert loaded(alone, *line.split()) & unwanted == set()


def test_a_verb_that_reads_starts_no_server(called: Called, demo: str) -> None:
    for line in ("images", "snapshots", "containers", "prune --dry-run", "explain demo", "doctor"):
        assert called(*line.split()).status == 0

    assert called("server", "status", "--json").document == {"running": False, "url": None, "pid": None}


def test_images_are_listed_by_name(called: Called, demo: str) -> None:
    table = called("images").out.splitlines()
    (document,) = called("images", "--json").document

    assert table[0].split() == ["NAME", "DIGEST", "PLATFORM", "SIZE", "UPDATED"]
    assert table[1].split()[:3] == [demo, document["digest"], "linux/amd64"]
    assert set(document) == {
        "namespace", "name", "digest", "media_type", "artifact_type", "platforms", "size", "created_at",
        "updated_at", "used_at", "labels",
    }  # fmt: skip
    assert document["name"] == demo


def test_an_image_is_looked_into(called: Called, demo: str) -> None:
    document = called("images", "inspect", "demo", "--json").document
    page = called("images", "inspect", "demo").out

    assert document["name"] == demo
    assert document["config"]["entrypoint"] == ["/bin/hello"]
    assert [layer["state"] for layer in document["layers"]] == ["applied"] * 3
    assert all(layer["diff_id"][:19] in page for layer in document["layers"])


def test_a_platform_that_is_not_here_is_said(called: Called, demo: str) -> None:
    done = called("images", "inspect", "demo", "--platform", "linux/arm64")

    assert (done.status, done.out, done.err.count("\n")) == (3, "", 1)


def test_a_config_cannot_move_the_cursor_or_forge_a_line(
    called: Called, prefect_server: object, home: Path, nasty_layout: Path
) -> None:
    pull(f"oci:{nasty_layout}:nasty", home=str(home))

    page = called("images", "inspect", "nasty").out

    assert not {"\x1b", "\x07", "\r"} & set(page)
    assert not any(line.startswith("forged") for line in page.splitlines())
    assert called("images", "inspect", "nasty", "--json").document["config"]["user"].startswith("\x1b[2J")


def test_snapshots_are_listed_parents_first(called: Called, demo: str) -> None:
    found = called("snapshots", "--json").document

    assert [(s["kind"], s["parent"]) for s in found] == [
        ("committed", parent) for parent in (None, found[0]["key"], found[1]["key"])
    ]
    assert len(called("snapshots").out.splitlines()) == 4


def test_the_key_of_a_container_s_snapshot_is_shown_whole(called: Called, demo: str, home: Path) -> None:
    node, key = open_node(str(home)), "a-name-that-a-person-chose-is-not-cut"
    driver = node.snapshotter()
    driver.prepare(key, called("images", "inspect", "demo", "--json").document["chain_id"])

    row = called("snapshots").out.splitlines()[-1].split()
    driver.remove(key)

    assert row[2] == key
    assert len(row[3]) == len("sha256:") + 64


def test_a_name_is_forgotten_and_then_absent(called: Called, demo: str) -> None:
    assert [name["name"] for name in called("images", "rm", "demo", "--json").document] == [demo]

    again = called("images", "rm", "demo")

    assert (again.status, again.out, again.err.count("\n")) == (3, "", 1)
    assert "demo:latest" in again.err


def test_what_prune_would_free_is_told_and_kept(called: Called, demo: str, home: Path) -> None:
    assert called("prune", "--dry-run").out == "would free 0 B\n"
    called("images", "rm", "demo")

    told = called("prune", "--dry-run", "--json").document

    assert told["dry_run"] is True
    assert told["totals"]["snapshot"]["count"] == 3
    assert told["bytes"] == sum(each["bytes"] for each in told["removed"]) > 0
    assert called("prune", "--dry-run").out.splitlines()[0].split() == ["KIND", "NAME", "SIZE", "WHY"]
    assert len(open_node(str(home)).snapshots()) == 3


def test_why_something_is_kept_is_told(called: Called, demo: str) -> None:
    (document,) = called("explain", demo, "--json").document
    digest = called("images", "--json").document[0]["digest"]

    assert document == {
        "kind": "image", "name": demo, "bytes": None, "shared": False, "kept": True, "removal": "",
        "reasons": [{"why": f"image {demo}", "way": [{"kind": "image", "name": demo}]}],
    }  # fmt: skip
    assert called("explain", digest[:19]).out.splitlines()[1:] == [f"  image {demo}", f"    -> index {digest}"]

    called("images", "rm", "demo")
    assert called("explain", digest).out.endswith(
        "nothing keeps it, prune would remove it: no name, container or lease leads to it\n"
    )
    assert called("explain", "nobody").status == 3


@pytest.mark.parametrize(
    "line", ["--unused-for 30", "--unused-for 0d", "--keep-generations -1", "--above 101", "--below 0", "--below 50"]
)
def test_a_rule_of_retention_that_is_none_is_refused(called: Called, demo: str, line: str) -> None:
    done = called("prune", "--dry-run", *line.split())

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


def test_rules_that_contradict_each_other_are_refused_before_a_flow_is_begun(called: Called, home: Path) -> None:
    said = [called("prune", *line.split()).err for line in ("--below 50", "--above 40 --below 50")]

    assert [line.partition("%")[2] for line in said] == [
        " of the disk, there is no above; expected below <= above\n",
        " of the disk, above is 40%; expected below <= above\n",
    ]
    assert not (home / "prefect").exists()


def test_a_dry_run_tells_what_a_rule_forgets_and_why(called: Called, demo: str) -> None:
    assert called("prune", "--dry-run", "--unused-for", "1h", "--above", "100").out == "would free 0 B\n"

    told = called("prune", "--dry-run", "--above", "0.001")

    assert told.out.splitlines()[1].startswith(f"image     {demo}")
    assert "used longest ago, and the disk is" in told.out
    assert told.out.splitlines()[-1].startswith("would free ")
    assert "1 image, 3 snapshots" in told.out.splitlines()[-1]


def test_an_absent_container_is_said(called: Called) -> None:
    done = called("containers", "rm", "nobody")

    assert (done.status, done.out, done.err.count("\n")) == (3, "", 1)
    assert "nobody" in done.err


def test_json_is_ascii_whatever_it_holds(called: Called, demo: str) -> None:
    assert json.loads(called("images", "--json").out.encode("ascii").decode())
