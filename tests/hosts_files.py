"""Hosts files for tests."""

from pathlib import Path

from prestow.registry.hosts import Options


def write_hosts(directories: Path, domain: str, text: str) -> Options:
    """Write the hosts file of a domain, and return options that read it."""
    directory = directories / domain
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "hosts.toml").write_text(text, "utf-8")
    return Options(directories=(directories,))


def mirrored(directories: Path, domain: str, *mirrors: str) -> Options:
    """Let plain HTTP servers answer before a domain's own."""
    return write_hosts(directories, domain, "".join(f'[host."http://{name}"]\n' for name in mirrors))
