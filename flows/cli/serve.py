"""Verb ``serve``: let other hosts pull from this store, or from a layout on disk; read-only."""

import argparse
import re
import resource
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from flows.cli.arguments import Parser, Verbs, add_verb, folder
from flows.cli.output import emit, say
from prestow.cancellation import PROMPT

if TYPE_CHECKING:
    from prestow.content.store import Provider
    from prestow.registry.pull_api import FindImage

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_HIGHEST_PORT = 65535
_MOST = 65536
_CONNECTIONS, _PER_CLIENT = 1024, 64
_OTHERS = 96  # descriptors that are no connection's; a connection has two, its socket and a blob


def add(verbs: Verbs, common: Parser) -> None:
    """Declare the verb."""
    verb = add_verb(
        verbs, common, "serve", run,
        help="serve the images of this store, or of a layout, to other hosts as a read-only registry",
        example="prestow serve --listen 127.0.0.1:5000\nprestow serve --layout /srv/images\n"
        "prestow serve --hosts-toml /etc/containerd/certs.d",
    )  # fmt: skip
    verb.add_argument(
        "--listen",
        metavar="ADDR",
        type=_address,
        default="127.0.0.1:5000",
        help="host:port; port 0 means any free port (default: %(default)s). There is no authentication: anyone "
        "who can connect can pull every image",
    )
    verb.add_argument(
        "--connections",
        metavar="N",
        type=_number,
        default=_CONNECTIONS,
        help="serve at most this many connections at once (default: %(default)s); fewer if `ulimit -n` allows fewer",
    )
    verb.add_argument(
        "--per-client",
        metavar="N",
        type=_number,
        default=_PER_CLIENT,
        help="at most this many of them from one address (default: %(default)s), loopback excepted. Raise it if many "
        "clients share one address, behind a proxy or NAT",
    )
    verb.add_argument(
        "--hosts-toml",
        metavar="DIR",
        type=folder,
        help="write DIR/_default/hosts.toml, so that the containerd of this host asks this server before any registry; "
        "DIR is the config_path of its CRI plugin, such as /etc/containerd/certs.d",
    )
    verb.add_argument("--layout", metavar="PATH", type=folder, help="serve this OCI image layout instead of the store")


def run(args: argparse.Namespace) -> int:
    """Serve until interrupted; says on standard output where, once it does."""
    from prestow.registry.layout import open_layout
    from prestow.registry.mirror_file import write_mirror_file
    from prestow.registry.server.limits import Limits
    from prestow.registry.server.listener import Server

    limits = Limits(connections=_affordable(args.connections), per_client=args.per_client)
    images, content = open_layout(args.layout) if args.layout else _store(args.home, args.namespace)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    with Server(args.listen, images, content, limits=limits) as server:
        host, port = server.address
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if args.hosts_toml:
            write_mirror_file(Path(args.hosts_toml), host, port)
        emit({"listen": where}, f"serving on {where}", args)
        while not ended.wait(PROMPT):  # a signal that comes just before is handled after it
            pass
    say("stopped")
    return 0


def _affordable(connections: int) -> int:
    """Return how many connections there are descriptors for, after raising this process's limit as far as needed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * connections + _OTHERS
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    if limit < wanted:
        connections = max(1, (limit - _OTHERS) // 2)
        say(f"serving at most {connections} connections at once; for more, raise the hard limit `ulimit -Hn` ({hard})")
    return connections


def _store(home: str, namespace: str) -> "tuple[FindImage, Provider]":
    from prestow.store.node import open_node

    node = open_node(home, namespace)
    return lambda name: node.images.get(name).target, node.content


def _address(text: str) -> tuple[str, int]:
    match = _ADDRESS.fullmatch(text)
    if match is None or int(match["port"]) > _HIGHEST_PORT:
        raise argparse.ArgumentTypeError(f"{text!r}: expected host:port, such as 127.0.0.1:5000 or [::1]:5000")
    return match["v6"] or match["host"] or "0.0.0.0", int(match["port"])  # noqa: S104 - the operator asked for all


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= _MOST):
        raise argparse.ArgumentTypeError(f"expected a number from 1 to {_MOST}, found {text!r}")
    return int(text)
