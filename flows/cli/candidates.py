"""What a word that is being typed can become, found by walking the parser along the words before it.

Nothing here knows a verb or an option: a new one is completed because the parser has it. An argument's ``type`` and
metavar say what it names: something of the store or the fleet file, a platform, a file, a directory.
"""

import argparse
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from flows.cli.arguments import Parser, image_name, namespace, platform, registry, source
from flows.cli.main import parser
from prestow.platforms import COMMON

Kind: TypeAlias = Literal["words", "paths", "files", "directories"]

_MANY = (argparse.ZERO_OR_MORE, argparse.ONE_OR_MORE)
_IMAGE_TYPES = (source, image_name)
_IMAGE, _CONTAINER = {"NAME", "DIGEST"}, {"ID", "CONTAINER"}
_PATHS: Mapping[str, Kind] = {"FILE": "files", "PATH": "files", "PLAN": "files", "DIR": "directories"}
_TRANSPORTS = ("oci:", "oci-archive:", "docker-archive:")
_FAMILIAR = ("docker.io/library/", "docker.io/", "localhost/")


class Candidate(NamedTuple):
    """A word, and what it means where that is known."""

    word: str
    meaning: str = ""


class Answer(NamedTuple):
    """Candidates; of kind ``paths``, no space follows one that ends with ``/`` or ``:``.

    Of kind ``files`` or ``directories``, the shell has more candidates, since it knows better what there is.
    """

    kind: Kind
    candidates: Sequence[Candidate] = ()


def answer(words: Sequence[str], current: str) -> Answer:
    """Return what ``current`` can become after ``words``, which begin behind the name of the command.

    Raises:
        InvalidError: an option before the verb is unknown.
    """
    place = _Place(parser(words))
    for word in words:
        place.take(word)
    found = place.complete(current)
    return Answer(found.kind, [each for each in found.candidates if each.word.startswith(current)])


class _Place:
    """Where in the grammar the words lead that were taken so far."""

    def __init__(self, top: Parser) -> None:
        """Stand before the first word."""
        self._given: dict[str, str] = {}
        self._only_arguments = False
        self._enter(top)

    def _enter(self, verb: Parser) -> None:
        self._verb = verb
        self._option: argparse.Action | None = None
        self._positionals = [each for each in verb.arguments if not each.option_strings]

    def take(self, word: str) -> None:
        """Take the next word."""
        is_option = word.startswith("-") and word != "-" and not self._only_arguments
        if self._option is not None and not (is_option and self._option.nargs in _MANY):
            self._given[self._option.dest] = word
            self._option = self._option if self._option.nargs in _MANY else None
        elif is_option:
            self._take_option(*word.partition("="))
        elif self._verb.verbs:
            self._enter(self._verb.verbs.get(word) or Parser(add_help=False))  # an unknown verb has nothing
        elif self._positionals:
            self._take_argument(self._positionals[0])

    def _take_option(self, name: str, equals: str, value: str) -> None:
        if name == "--":
            self._only_arguments = True
        elif (action := self._verb.option(name)) is not None:
            self._given[action.dest] = value
            self._option = None if equals or action.nargs == 0 else action

    def _take_argument(self, action: argparse.Action) -> None:
        if action.nargs == argparse.REMAINDER:
            self._only_arguments = True
        elif action.nargs not in _MANY:
            del self._positionals[0]

    def complete(self, current: str) -> Answer:
        """Return what can stand here, among it all that begins with ``current``."""
        if self._option is not None:
            return self._values(self._option, current)
        if current.startswith("-") and not self._only_arguments:
            return self._options(current)
        if self._verb.verbs:
            return Answer("words", _verbs(self._verb, current))
        if self._positionals:
            return self._values(self._positionals[0], current)
        return Answer("words") if current or self._only_arguments else self._options(current)

    def _options(self, current: str) -> Answer:
        name, equals, value = current.partition("=")
        if equals:
            action = self._verb.option(name)
            kind, found = self._values(action, value) if action else Answer("words")
            if kind in ("files", "directories"):  # which shells do not look for behind a "="
                found = [*found, *_paths(value, only_directories=kind == "directories")]
                kind = "paths"
            return Answer(kind, [Candidate(f"{name}={each.word}", each.meaning) for each in found])
        return Answer("words", [
            Candidate(word, (action.help or "").replace("%%", "%"))
            for action in self._verb.arguments
            if action.dest not in self._given or _is_repeatable(action)
            for word in _spellings(action, current)
        ])  # fmt: skip

    def _values(self, action: argparse.Action, current: str) -> Answer:
        if action.choices:
            return Answer("words", [Candidate(str(choice)) for choice in action.choices])
        if action.nargs == argparse.REMAINDER:
            return Answer("files")
        kinds = set(str(action.metavar or "").split("|"))
        if action.type is source and (transport := next(filter(current.startswith, _TRANSPORTS), "")):
            found = _paths(current.removeprefix(transport), only_directories=False)
            return Answer("paths", [Candidate(f"{transport}{each.word}") for each in found])
        names = [*self._of_store(action, kinds, current), *self._of_fleet(action, kinds)]
        if action.type is platform:
            names += COMMON
        kind: Kind = next((_PATHS[each] for each in _PATHS if each in kinds), "words")
        return Answer(kind, [Candidate(name) for name in names])

    def _of_store(self, action: argparse.Action, kinds: set[str], current: str) -> Iterator[str]:
        """Yield the names of the store that an argument can have."""
        from config.home import home_or_default, namespace_or_default
        from prestow.metadata import glance

        database = Path(home_or_default(self._given.get("home")), "metadata.db")
        own = namespace_or_default(self._given.get("namespace"))
        if action.type in _IMAGE_TYPES or kinds >= _IMAGE:
            yield from _familiar(glance.image_names(database, own), current)
        if kinds & _CONTAINER:
            yield from glance.container_ids(database, own)
        if action.type is namespace:
            yield from glance.namespaces(database)
        if action.type is registry:
            yield from dict.fromkeys(name.partition("/")[0] for name in glance.image_names(database, own))

    def _of_fleet(self, action: argparse.Action, kinds: set[str]) -> Sequence[str]:
        """Return the names of the fleet file that an argument can have; of REF, those that are not checked yet."""
        meant = "SET" if "SET" in kinds else action.dest if action.type is None else ""
        if meant not in ("SET", "host", "update"):
            return ()
        from config.home import fleet_file
        from flows.cli.fleet_arguments import DEFAULT
        from prestow.fleet import glance

        look = {"SET": glance.set_names, "host": glance.host_names, "update": glance.references}[meant]
        return look(Path(self._given.get("file") or fleet_file(DEFAULT)))


def _paths(current: str, *, only_directories: bool) -> list[Candidate]:
    """Return the paths that begin so; directories end with ``/``, hidden files are shown where a dot was typed."""
    folder, _, start = current.rpartition("/")
    try:
        with os.scandir(f"{folder}/" if "/" in current else ".") as entries:
            found = sorted((each.name, each.is_dir()) for each in entries if each.name.startswith(start))
    except (OSError, ValueError):
        return []
    before = current.removesuffix(start) if start else current
    return [
        Candidate(f"{before}{name}{'/' if is_dir else ''}")
        for name, is_dir in found
        if (is_dir or not only_directories) and (start or not name.startswith("."))
    ]


def _is_repeatable(action: argparse.Action) -> bool:
    return action.nargs in _MANY or isinstance(action, argparse._AppendAction)  # noqa: SLF001 - it has no public name


def _spellings(action: argparse.Action, current: str) -> Iterator[str]:
    """Yield the spellings of an option that begin so; one letter is offered only where there is nothing longer."""
    long = [word for word in action.option_strings if word.startswith("--")]
    shown = action.option_strings if len(current) > 1 else long or action.option_strings
    yield from (word for word in shown if word.startswith(current))


def _verbs(verb: Parser, current: str) -> list[Candidate]:
    """Return the verbs or sub-verbs; those that the help does not list only where no listed one begins so."""
    listed = [Candidate(name, text) for name, text in verb.listed.items()]
    if any(each.word.startswith(current) for each in listed):
        return listed
    return [Candidate(name, each.description or "") for name, each in verb.verbs.items()]


def _familiar(names: Sequence[str], current: str) -> list[str]:
    """Return names of images as the person began to write them: in full, or without what is added to short ones."""
    if any(name.startswith(current) for name in names):
        return list(names)
    return [name.removeprefix(prefix) for prefix in _FAMILIAR for name in names if name.startswith(prefix)]
