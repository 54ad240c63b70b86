"""The store as flows and steps open it: with named credentials from the blocks of the Prefect API."""

from prestow.store import node as engine
from prestow.store.node import Node
from tasks.registry_credentials import find_named


def open_node(home: str, namespace: str | None = None) -> Node:
    """Open a store, or make it; see :func:`prestow.store.node.open_node`."""
    node = engine.open_node(home, namespace)
    node.sources.find_named = find_named
    return node
