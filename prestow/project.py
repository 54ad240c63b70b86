"""Where the Prefect project (``flows/``, ``tasks/``, ``config/``, ``deployments/``) is, and how its modules are named.

In a checkout its folders lie beside this package, and are top-level packages. A wheel carries them below it, in
``prestow/_project``, as ``prestow._project.flows`` and so on: packages of others may have the same names. Imports are
rewritten when the wheel is built; names that are put together at run time come from here. See docs/adr/0002.
"""

from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[1]
_BELOW = Path(__file__).resolve().parent / "_project"
_MOVED = ("config", "tasks", "flows")


def root() -> Path:
    """Return the folder that holds ``flows/`` and its siblings."""
    return _BELOW if _BELOW.is_dir() else _BESIDE


def search_path() -> tuple[str, ...]:
    """Return the folders that a child process must search for the project's modules, in addition to its own path."""
    return () if _BELOW.is_dir() else (str(_BESIDE),)


def module(name: str) -> str:
    """Return the name by which a module, such as ``flows.pull``, is imported here; others than ours keep theirs."""
    return f"prestow._project.{name}" if name.split(".", maxsplit=1)[0] in _MOVED and _BELOW.is_dir() else name
