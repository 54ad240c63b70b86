"""The hosts file that lets containerd ask a server of this host before any registry (containerd, docs/hosts.md).

    DIRECTORY/_default/hosts.toml

It holds for every registry that has no directory of its own there; when the server does not answer, containerd asks the
registry itself.
"""

from pathlib import Path

from prestow.content.disk import replace_file, translated
from prestow.errors import AlreadyExistsError

_MARK = "# Written by `prestow serve --hosts-toml`, at each start."
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - addresses of others, to be replaced


def write_mirror_file(directory: Path, host: str, port: int) -> Path:
    """Write the file for a server at an address, and return its path.

    Raises:
        AlreadyExistsError: there is such a file, which was not written here.
        StorageError: it cannot be written.
    """
    path = directory / "_default" / "hosts.toml"
    host = _EVERYWHERE.get(host, host)
    origin = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    text = f'{_MARK}\n[host."{origin}"]\n  capabilities = ["pull", "resolve"]\n'
    with translated(f"writing {path}"):
        if path.exists() and not path.read_text("utf-8", "replace").startswith(_MARK):
            raise AlreadyExistsError(f"{path} was not written by `prestow serve`; add the server {origin} to it")
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())
    return path
