"""What a person types: help for every verb, and one line for every slip of the pen, before anything slow."""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.cli.main import parser
from prestow import __version__
from tests.flows.cli.conftest import Called


def verbs(top: argparse.ArgumentParser, *path: str) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Yield every verb and sub-verb with the words that lead to it."""
    for action in top._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, verb in action.choices.items():
                yield (*path, word), verb
                yield from verbs(verb, *path, word)


VERBS = dict(verbs(parser()))


def test_the_verbs_are_those_that_scripts_rely_on() -> None:
    expected = (
        "pull bundle run prepull images snapshots containers fsck verify prune explain doctor serve deploy server "
    )
    expected += "warm engine fleet node hand-over in-use completion version ps rmi inspect export login logout "
    expected += "image container snapshot"
    assert {words[0] for words in VERBS} == set(expected.split())
    assert {words for words in VERBS if len(words) > 1} == {
        *((verb, sub) for verb in ("images", "image") for sub in ("rm", "inspect", "tag", "label", "ls", "list")),
        *((verb, sub) for verb in ("containers", "container", "ps") for sub in ("rm", "stop", "ls", "list")),
        *((verb, sub) for verb in ("snapshots", "snapshot") for sub in ("ls", "list")),
        ("server", "status"), ("server", "env"), ("server", "stop"),
        ("server", "open"), ("server", "start"),
        ("warm", "status"), ("warm", "stop"), ("node", "up"), ("node", "report"), ("node", "status"),
        ("fleet", "lock"), ("fleet", "plan"), ("fleet", "apply"), ("fleet", "status"), ("fleet", "rollback"),
        ("fleet", "release"), ("fleet", "hosts"), ("fleet", "schema"),
    }  # fmt: skip


@pytest.mark.parametrize("words", [(), *VERBS], ids=" ".join)
def test_help_tells_what_a_verb_is_for_with_examples_that_parse(called: Called, words: tuple[str, ...]) -> None:
    done = called(*words, "--help")

    assert (done.status, done.err) == (0, "")
    assert {"--home", "--json"} <= set(done.out.split())
    assert "None" not in done.out
    examples = [line for line in done.out.partition("example:\n")[2].splitlines() if line.startswith("  prestow ")]
    assert examples
    for example in examples:
        parser().parse_args(shlex.split(example)[1:])


def test_every_argument_has_a_help_text() -> None:
    silent = [
        (words, action.dest)
        for words, verb in VERBS.items()
        for action in verb._actions
        if not action.help and not isinstance(action, argparse._SubParsersAction)
    ]

    assert silent == []


def test_the_version_is_that_of_the_package(called: Called) -> None:
    assert called("--version").out == f"prestow {__version__}\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "VERB"),
        ("bogus", "'bogus'"),
        ("pull", "REF"),
        ("pull UPPER", "library/UPPER"),
        ("pull ''", "REF"),
        ("pull a b", "unknown argument b"),
        ("pull a --platform nonsense", "nonsense"),
        ("pull a --platform linux/", "linux/"),
        ("pull a --platform linux/amd65", "amd64"),
        ("pull a --plat linux/amd64", "--plat"),
        ("pull a --name Not:A:Name", "--name"),
        ("pull a --stop-after lunch", "'lunch'"),
        ("pull a --driver zfs", "'zfs'"),
        ("pull a --home ''", "--home"),
        ("bundle a", "DIR"),
        ("bundle a ''", "DIR"),
        ("bundle a d --id ../x", "../x"),
        ("prepull", "REF"),
        ("prepull a --parallel 0", "'0'"),
        ("prepull a --parallel 33", "'33'"),
        ("prepull a --parallel many", "'many'"),
        ("images bogus", "'bogus'"),
        ("images rm", "NAME"),
        ("images inspect 'a b'", "a b"),
        ("containers rm", "ID"),
        ("containers stop", "ID"),
        ("containers stop a --grace -1", "'-1'"),
        ("containers stop a --grace soon", "'soon'"),
        ("serve --listen here", "'here'"),
        ("serve --listen 127.0.0.1:65536", "65536"),
        ("prune --dry", "--dry"),
        ("server bogus", "'bogus'"),
    ],
)
def test_a_wrong_argument_costs_one_line_that_names_it(called: Called, home: Path, line: str, said: str) -> None:
    done = called(*shlex.split(line))

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("prestow: ")
    assert said in done.err
    assert not home.exists()


@pytest.mark.parametrize("line", ["run", "run --bogus a", "run UPPER", "run --platform nonsense a", "run --id '' a"])
def test_a_wrong_argument_of_run_is_told_from_a_process_s_status(called: Called, line: str) -> None:
    done = called(*shlex.split(line))

    assert (done.status, done.out, done.err.count("\n")) == (125, "", 1)


def test_what_a_person_typed_cannot_move_the_cursor(called: Called) -> None:
    done = called("pull", "a", "\x1b[2J\nb")

    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("run a", []),
        ("run a exit 7", ["exit", "7"]),
        ("run a -- exit 7", ["exit", "7"]),
        ("run -- a exit 7", ["exit", "7"]),
        ("run a -- -- x", ["--", "x"]),
        ("run --rm a sh -c 'x -- y' -- --rm", ["sh", "-c", "x -- y", "--", "--rm"]),
        ("run --rm a -- sh -c 'x -- y' -- --rm", ["sh", "-c", "x -- y", "--", "--rm"]),
        ("run a --env X=1 -- --env", ["--env", "X=1", "--", "--env"]),
        ("run a -it --json --unknown pull", ["-it", "--json", "--unknown", "pull"]),
        ("run -it -eX=1 -u 0 a -e", ["-e"]),
    ],
)
def test_what_follows_the_reference_is_the_container_s(line: str, words: list[str]) -> None:
    args = parser().parse_args(shlex.split(line))

    assert list(args.args) == words
    assert args.reference == "a"


@pytest.mark.parametrize(
    "line", ["--home {} images inspect a", "images --home {} inspect a", "images inspect a --home {}"]
)
def test_the_store_is_chosen_before_or_after_any_verb(called: Called, tmp_path: Path, line: str) -> None:
    done = called(*line.format(tmp_path / "other").split())

    assert done.status == 3
    assert (tmp_path / "other/store.json").exists()


def test_the_store_of_the_last_verb_wins_over_that_of_the_first_and_of_the_environment(
    called: Called, tmp_path: Path, home: Path
) -> None:
    called("--home", str(tmp_path / "one"), "images", "--home", str(tmp_path / "two"))

    assert [(tmp_path / name).exists() for name in ("one", "two")] == [False, True]
    assert not home.exists()


def test_the_environment_chooses_the_store(called: Called, home: Path) -> None:
    assert called("images").status == 0
    assert (home / "store.json").exists()


@pytest.mark.parametrize("line", ["--json images", "images --json", "snapshots --json", "containers --json"])
def test_one_json_document_is_printed_for_a_store_with_nothing_in_it(called: Called, line: str) -> None:
    done = called(*line.split())

    assert (done.document, done.err) == ([], "")


def test_the_command_of_workers_says_that_it_is_theirs(called: Called, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)

    done = called("engine")

    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert "a worker starts this command" in done.err
