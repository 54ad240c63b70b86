"""The parser of the command line: argparse's, with one line for each mistake, which names what was meant if it can.

An option that a verb lacks is found before argparse takes its value for an argument. What argparse complains of is an
error of ours, as is what the engine's grammar says of an argument's value.
"""

import argparse
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, NoReturn

from prestow.errors import InvalidError, PrestowError, printable

# It would look for translations, in four files for each text.
argparse._ = lambda text: text  # type: ignore[attr-defined]

_ANY_WIDTH = 80
_WORDS_COLUMN = 19  # argparse would leave sub-verbs out when it looks for the longest word


class Help(argparse.RawDescriptionHelpFormatter):
    """Help texts whose examples stay as they are written, and whose longest verb has its help beside it."""

    def add_argument(self, action: argparse.Action) -> None:
        """Add an argument."""
        super().add_argument(action)
        self._action_max_length = max(self._action_max_length, _WORDS_COLUMN)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Return a description or epilog as wide as the terminal; an example stays whole, to be copied."""
        lines = text.splitlines()
        if all(len(line) <= width for line in lines):  # as the version is, which needs nothing more
            return super()._fill_text(text, width, indent)
        from flows.cli.tables import fit

        return "\n".join(f"{indent}{line if line.startswith('  ') else fit(line, width)}" for line in lines)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return ``-e, --env VALUE``, with the value once, as Python 3.13 does."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        value = self._format_args(action, self._get_default_metavar_for_optional(action))
        return f"{', '.join(action.option_strings)} {value}"


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one sentence and an error of ours.

    Attributes:
        failure: class of that error, and so the exit status.
    """

    failure: type[PrestowError] = InvalidError

    def __init__(self, **options: Any) -> None:
        """Take argparse's options; words cannot be shortened, so that a new one breaks no script."""
        # argparse formats each argument that is added; to look at the terminal for that imports compression, too
        super().__init__(formatter_class=partial(Help, width=_ANY_WIDTH), allow_abbrev=False, **options)

    def format_help(self) -> str:
        """Return the help, as wide as the terminal."""
        self.formatter_class = Help
        return super().format_help()

    @property
    def verbs(self) -> "Mapping[str, Parser]":
        """The parsers of its verbs or sub-verbs by each of their names; empty if it has none."""
        named: list[Any] = [each.choices for each in self._actions if each.nargs == argparse.PARSER]
        return named[0] if named else {}

    @property
    def listed(self) -> dict[str, str]:
        """The help texts of the verbs or sub-verbs that the help lists, by name."""
        found = [each for each in self._actions if isinstance(each, argparse._SubParsersAction)]  # noqa: SLF001
        return {verb.dest: verb.help or "" for verbs in found for verb in verbs._choices_actions}  # noqa: SLF001

    @property
    def arguments(self) -> list[argparse.Action]:
        """The arguments and options that the help shows; the verb is none of them."""
        return [each for each in self._actions if each.help != argparse.SUPPRESS and each.nargs != argparse.PARSER]

    def option(self, word: str) -> argparse.Action | None:
        """Return the option with this name, ``--driver``; None if there is none."""
        return self._option_string_actions.get(word)

    def positionals(self, words: Sequence[str]) -> Iterator[str]:
        """Yield the words that are neither an option nor the value of one; the first may be a verb.

        Raises:
            PrestowError: an option before it is none of this parser's.
        """
        rest = iter(words)
        for word in rest:
            if word == "--":
                yield from rest
            elif not word.startswith("-") or word[1:2].isdigit() or word == "-":
                yield word
            elif self._option_of(word).nargs is None and self.option(word):
                next(rest, None)

    def parse_known_args(  # type: ignore[override]  # argparse's is overloaded, for other namespaces than its own
        self, args: Sequence[str], namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, once all options that are this parser's to understand are known."""
        others_follow = any(each.nargs in (argparse.PARSER, argparse.REMAINDER) for each in self._actions)
        deque(islice(self.positionals(args), 1 if others_follow else None), maxlen=0)
        return super().parse_known_args(args, namespace)

    def keep_outer_values(self) -> None:
        """Let the options of a sub-verb, where they are not given, leave those of its verb as they are."""
        for action in self._actions:
            action.default = argparse.SUPPRESS

    def error(self, message: str) -> NoReturn:
        """Complain, and name the help.

        Raises:
            PrestowError: always, of class ``failure``.
        """
        self.fail(f"{printable(message, 500)}; see `{self.prog} --help`")

    def fail(self, message: str) -> NoReturn:
        """Complain in a sentence that ends with what to do.

        Raises:
            PrestowError: always, of class ``failure``.
        """
        raise self.failure(message)

    def _option_of(self, word: str) -> argparse.Action:
        """Return the option that a word begins with: ``--env``, ``--env=A=1``, ``-eA=1`` or ``-it``."""
        name = word.partition("=")[0]
        found = self.option(word) or self.option(name) or (None if word.startswith("--") else self.option(word[:2]))
        if found is None:
            from flows.cli.mistyped import option

            self.fail(option(self, name, [known for each in self.arguments for known in each.option_strings]))
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Complain of a verb, sub-verb or choice that is none."""
        if action.choices is None or value in action.choices:
            return
        from flows.cli.mistyped import choice, verb

        if action.nargs == argparse.PARSER:
            self.fail(verb(self, value))
        self.fail(choice(_name(action), value, list(action.choices)))

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """Convert a value; the engine's complaint of it names the argument, and ends with what to do already."""
        try:
            return super()._get_value(action, arg_string)
        except PrestowError as error:
            raise self.failure(f"argument {_name(action)}: {error}") from error


def _name(action: argparse.Action) -> str:
    return "/".join(action.option_strings) or str(action.metavar or action.dest)
