"""Valid documents to start from: a test changes one thing, and says what follows."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import strategies as st

from prestow.digest import Digest
from prestow.oci import mediatypes


def raw(document: object) -> bytes:
    """Return the bytes of a document."""
    return json.dumps(document).encode()


def descriptor(content: bytes = b"x", media_type: str = mediatypes.OCI_LAYER_GZIP, **more: object) -> dict[str, Any]:
    """Return the descriptor of ``content``, with ``more`` fields."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def config(**changes: object) -> dict[str, Any]:
    """Return an image config of two layers."""
    return {
        "created": "2024-01-02T03:04:05Z",
        "author": "someone",
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "os.features": [],
        "config": {
            "User": "app",
            "Env": ["PATH=/bin", "A=1"],
            "Entrypoint": ["/bin/hello"],
            "Cmd": ["exit", "7"],
            "WorkingDir": "/srv",
            "Volumes": {"/data": {}},
            "ExposedPorts": {"80/tcp": {}},
            "Labels": {"team": "fleet"},
            "StopSignal": "SIGINT",
            "Hostname": "",
        },
        "rootfs": {"type": "layers", "diff_ids": [str(Digest.of(b"lower")), str(Digest.of(b"upper"))]},
        "history": [{"created_by": "build"}],
        **changes,
    }


def manifest(**changes: object) -> dict[str, Any]:
    """Return a manifest of two layers."""
    return {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_MANIFEST,
        "config": descriptor(raw(config()), mediatypes.OCI_CONFIG),
        "layers": [descriptor(b"lower, packed"), descriptor(b"upper, packed")],
        "annotations": {"org.example.note": "hello"},
        **changes,
    }


def index(**changes: object) -> dict[str, Any]:
    """Return an index of two images and an attestation."""
    platforms = [("linux", "amd64"), ("linux", "arm64"), ("unknown", "unknown")]
    return {
        "schemaVersion": 2,
        "mediaType": mediatypes.OCI_INDEX,
        "manifests": [
            descriptor(
                architecture.encode(), mediatypes.OCI_MANIFEST, platform={"os": os, "architecture": architecture}
            )
            for os, architecture in platforms
        ],
        **changes,
    }


def json_values(largest: int = 2**70) -> st.SearchStrategy[Any]:
    """Return a strategy for small JSON values with integers up to ``largest``."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-largest // 10, largest),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=20),
    )
    return st.recursive(
        scalars,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
        max_leaves=6,
    )


def pointers(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of every place in a document."""
    yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from pointers(inner, (*path, key))


def replaced(document: Any, path: tuple[str | int, ...], value: object) -> Any:
    """Return the document with ``value`` at ``path``."""
    if not path:
        return value
    copy = document.copy()
    copy[path[0]] = replaced(document[path[0]], path[1:], value)
    return copy


def mutations(sample: Callable[[], dict[str, Any]]) -> st.SearchStrategy[Any]:
    """Return a strategy for ``sample()`` with a random value at a random place."""
    document = sample()
    return st.builds(replaced, st.just(document), st.sampled_from(list(pointers(document))), json_values())
