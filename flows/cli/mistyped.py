"""What to say of a word that prestow has not: which one may be meant, or what does that here.

Only a complaint imports this module.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

from flows.cli.foreign_words import COMMON_OPTIONS, OPTIONS, SUB_VERBS, VERBS
from flows.cli.verbs import VERBS as OURS
from prestow.errors import did_you_mean, printable

if TYPE_CHECKING:
    from flows.cli.parsing import Parser


def verb(parser: "Parser", word: str) -> str:
    """Return what to say of a word that stands where a verb or sub-verb is expected."""
    path = parser.prog.split()[1:]
    head = f"{path[-1]}: no sub-verb" if path else "no verb"
    meant = _sub_verb(parser, word, path[0]) if path else _verb(parser, word)
    return f"{head} {printable(word)!r}{meant or _help(parser)}"


def option(parser: "Parser", name: str, known: Collection[str]) -> str:
    """Return what to say of an option that a verb lacks."""
    path = parser.prog.partition(" ")[2]
    elsewhere = {**COMMON_OPTIONS, **OPTIONS.get(path, {})}
    instead = elsewhere.get(name) or (None if name.startswith("--") else elsewhere.get(name[:2]))
    meant = f": {instead}" if instead else did_you_mean(name, known)
    return f"{path and f'{path}: '}no option {printable(name)}{meant or _help(parser)}"


def choice(name: str, value: str, known: Collection[str]) -> str:
    """Return what to say of a value that is none of an option's."""
    if meant := did_you_mean(value, known):
        return f"argument {name}: no choice {printable(value)!r}{meant}"
    *most, last = known
    return f"argument {name}: expected {', '.join(most)} or {last}, found {printable(value)!r}"


def _verb(parser: "Parser", word: str) -> str:
    """Return what does a verb's work here, or which one is meant; empty if neither is known."""
    if word in VERBS:
        return f": {VERBS[word]}"
    owners = [name for name, each in parser.verbs.items() if word in each.verbs]
    if owners:
        return f"; did you mean `prestow {owners[0]} {word}`?"
    return did_you_mean(word, parser.listed) or did_you_mean(word, parser.verbs)


def _sub_verb(parser: "Parser", word: str, verb: str) -> str:
    """Return the same of a sub-verb: a verb may be meant, too."""
    if instead := SUB_VERBS.get(verb, {}).get(word):
        return f": {instead}"
    if word in OURS:
        return f"; did you mean `prestow {word}`?"
    if word in VERBS and verb in ("images", "containers", "snapshots"):
        return f": {VERBS[word]}"
    one = f"; see one image with `prestow inspect {printable(word)}`" if verb == "images" else ""
    return did_you_mean(word, parser.verbs) or one


def _help(parser: "Parser") -> str:
    return f"; see `{parser.prog} --help`"
