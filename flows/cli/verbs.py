"""Which verbs there are, and which module has each of them."""

VERBS = (
    "pull", "bundle", "run", "prepull", "hand-over", "in-use", "fleet", "images", "snapshots", "containers", "export",
    "login", "logout", "fsck", "prune", "explain", "doctor", "serve", "deploy", "node", "server", "warm", "completion",
    "engine", "version",
)  # fmt: skip
"""The verbs, in the order of the help; each is a module beside this one, with ``_`` for ``-``."""

ALIASES = {
    "verify": "fsck", "ps": "containers", "rmi": "images", "inspect": "images",
    "image": "images", "container": "containers", "snapshot": "snapshots",
}  # fmt: skip
"""Other names of verbs, and of sub-verbs, with the verb whose module declares them."""


def module_of(verb: str) -> str:
    """Return the name of the module of a verb."""
    return f"flows.cli.{verb.replace('-', '_')}"
