"""What to say of a word that prestow has not: which one may be meant, or what does that here.

Only a complaint imports this module.
"""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from prestow.errors import did_you_mean, printable

if TYPE_CHECKING:
    from flows.cli.parsing import Parser

_NO_VOLUMES: Final = "`prestow run` mounts nothing of the host; use `prestow bundle`, and add mounts to its config.json"
_NO_NETWORK: Final = "a container of `run` has no network but its loopback; leave the option out"
_VERBS: Final = {
    "attach": "the output of a container is on the terminal of `prestow run`; add -it there for its input",
    "build": "prestow builds no images; build one with buildah or docker, and take it in with `prestow pull oci:PATH`",
    "catalog": "prestow lists what this host has, with `prestow images`, and no registry",
    "commit": "prestow builds no images; build one with buildah or docker, and take it in with `prestow pull oci:PATH`",
    "copy": "take an image in with `prestow pull`; other hosts get it from `prestow serve`",
    "cp": "get at the files of an image with `prestow bundle REF DIR`, in DIR/rootfs",
    "create": "create a container without starting it with `prestow bundle REF DIR`",
    "delete": "remove an image with `prestow rmi NAME`, a container with `prestow containers rm ID`",
    "describe": "see an image with `prestow inspect NAME`",
    "digest": "see it with `prestow images inspect NAME`, and the registry's with `prestow pull --dry-run REF`",
    "exec": "a container has one command; run another one with `prestow run REF CMD`",
    "gc": "delete unreferenced data with `prestow prune`",
    "get": "list images with `prestow images`, containers with `prestow ps`",
    "help": "see `prestow --help`, or `prestow VERB --help`",
    "history": "see the layers of an image with `prestow images inspect NAME`",
    "import": "take an image in from a file with `prestow pull oci-archive:FILE`",
    "info": "check this host and list the settings with `prestow doctor`",
    "kill": "end a container's process with `prestow containers stop --grace 0 ID`",
    "list": "list images with `prestow images`, containers with `prestow ps`",
    "load": "take an image in from a file with `prestow pull docker-archive:FILE`, or oci-archive:FILE",
    "logs": "the output of a container is on the terminal of `prestow run`; under a worker, see the log of its run in "
    "the Prefect UI",
    "ls": "list images with `prestow images`, containers with `prestow ps`",
    "manifest": "see it with `prestow images inspect NAME`",
    "mount": "mount an image at DIR/rootfs with `prestow bundle REF DIR`",
    "network": "a container of `prestow run` has no network but its loopback",
    "push": "prestow writes to no registry; let other hosts pull from this one with `prestow serve`",
    "restart": "run a container again with `prestow run REF`",
    "rm": "remove a container with `prestow containers rm ID`, an image with `prestow rmi NAME`",
    "save": "write an image into a file with `prestow export NAME -o FILE`",
    "search": "prestow searches no registries; use the registry's own pages",
    "start": "create a container and start it with `prestow run REF`",
    "stop": "stop a container with `prestow containers stop ID`",
    "system": "check this host with `prestow doctor`, delete unreferenced data with `prestow prune`",
    "sync": "pull several images with `prestow prepull REF REF`",
    "top": "list the containers with `prestow ps`",
    "update": "fetch what a tag points to now with `prestow pull REF`",
    "validate": "check what is stored of an image with `prestow fsck NAME`",
    "volume": _NO_VOLUMES,
}
"""Verbs that docker, podman, ctr, crane and kubectl have, and what does it here."""

_OPTIONS: Final[Mapping[str, Mapping[str, str]]] = {
    "run": {
        **dict.fromkeys(("-v", "--volume", "--mount"), _NO_VOLUMES),
        **dict.fromkeys(("-p", "--publish", "--network", "--net"), _NO_NETWORK),
        **dict.fromkeys(("-d", "--detach"), "`run` waits for the process; start it from a systemd unit, or with &"),
        "--entrypoint": "the image's entrypoint stays; name its arguments after REF",
        "--env-file": "copy variables of this environment with --env NAME, or read them with --secret NAME=file:PATH",
        "--privileged": "`run` gives no container all rights; use `prestow bundle`, and edit its config.json",
    },
    **dict.fromkeys(("images", "images ls"), dict.fromkeys(("-a", "--all"), "all images are listed; leave it out")),
    "containers rm": dict.fromkeys(("-f", "--force"), "stop the container first with `prestow containers stop`"),
    "containers stop": dict.fromkeys(("-t", "--time", "--timeout"), "set the seconds with --grace"),
    "prune": {
        **dict.fromkeys(("-a", "--all"), "names stay unless a rule removes them, such as --unused-for 30d"),
        **dict.fromkeys(("-f", "--force"), "prune asks nothing; leave it out"),
    },
    "pull": {
        **dict.fromkeys(("-a", "--all-tags"), "pull each tag by its name; `prestow prepull` takes several"),
        **dict.fromkeys(("--arch", "--os"), "choose both with --platform OS/ARCH"),
        **dict.fromkeys(("--creds", "--authfile"), "log in with `prestow login`, or name a block with --credentials"),
        **dict.fromkeys(("--tls-verify", "--insecure"), "set skip_verify in the hosts.toml of that registry"),
    },
}
"""Options that docker's and podman's verb of that name has, and what does it here."""

_FORMS: Final = {
    **dict.fromkeys(("-o", "--output"), "print a document with --json, fields of it with --format, names with --quiet"),
    "--no-trunc": "show whole digests with --wide",
}
"""Options of docker's and kubectl's for the form of an answer, which is chosen likewise with all verbs."""


def verb(parser: "Parser", word: str) -> str:
    """Return what to say of a word that stands where a verb or sub-verb is expected."""
    path = parser.prog.split()[1:]
    head = f"{path[-1]}: no sub-verb" if path else "no verb"
    meant = _sub_verb(parser, word, path[0]) if path else _verb(parser, word)
    return f"{head} {printable(word)!r}{meant or _help(parser)}"


def option(parser: "Parser", name: str, known: Collection[str]) -> str:
    """Return what to say of an option that a verb lacks."""
    path = parser.prog.partition(" ")[2]
    elsewhere = {**_FORMS, **_OPTIONS.get(path, {})}
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
    if word in _VERBS:
        return f": {_VERBS[word]}"
    owners = [name for name, each in parser.verbs.items() if word in each.verbs]
    return f"; did you mean `prestow {owners[0]} {word}`?" if owners else did_you_mean(word, parser.verbs)


def _sub_verb(parser: "Parser", word: str, verb: str) -> str:
    """Return the same of a sub-verb: a verb may be meant, too."""
    from flows.cli.main import VERBS

    if word in VERBS:
        return f"; did you mean `prestow {word}`?"
    if word in _VERBS and verb in ("images", "containers", "snapshots"):
        return f": {_VERBS[word]}"
    return did_you_mean(word, parser.verbs)


def _help(parser: "Parser") -> str:
    return f"; see `{parser.prog} --help`"
