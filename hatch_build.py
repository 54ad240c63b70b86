"""What a wheel holds: the package ``prestow``, the project's folders below it, with imports that say so, and a manual.

    checkout                                   wheel
    prestow/…                                  prestow/…
    config/ tasks/ flows/                      prestow/_project/config/ tasks/ flows/
    from flows.pull import pull                from prestow._project.flows.pull import pull
    flows/cli/manual.py (makes them)           share/man/man1/prestow.1 …

See docs/adr/0002. A checkout, and an editable installation of it, is used as it is.
"""

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_MOVED = ("config", "tasks", "flows")
_PLACE = "prestow/_project"
_MANUAL = "share/man/man1"


class Wheel(BuildHookInterface):  # type: ignore[type-arg]  # hatchling's own configuration, which is not ours to name
    """The hook that hatchling calls for each wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Lay the tree out, unless the wheel is one that leads to the checkout."""
        if version == "editable":
            return
        self._tree = Path(mkdtemp(prefix="prestow-wheel-"))
        lay(Path(self.root), self._tree)
        build_data["force_include"][str(self._tree / "prestow")] = "prestow"
        manual = self._tree / _MANUAL
        subprocess.run([sys.executable, "-B", "-m", "flows.cli.manual", manual], cwd=self.root, check=True)
        build_data["shared_data"].update({str(page): f"{_MANUAL}/{page.name}" for page in sorted(manual.iterdir())})

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Remove the tree, which is in the wheel by now."""
        if version != "editable":
            shutil.rmtree(self._tree)


def lay(root: Path, tree: Path) -> None:
    """Write into ``tree`` what a wheel of the checkout ``root`` holds."""
    leave_out = shutil.ignore_patterns("__pycache__")
    project = tree / _PLACE
    shutil.copytree(root / "prestow", tree / "prestow", ignore=leave_out)
    for name in (*_MOVED, "deployments"):
        shutil.copytree(root / name, project / name, ignore=leave_out)
    (project / "__init__.py").write_text('"""The folders of the project; `prestow.flows` is what programs import."""\n')
    for file in tree.rglob("*.py"):
        file.write_text(moved(file.read_text("utf-8")), "utf-8")


def moved(source: str) -> str:
    """Return a module's source with its imports of our folders as they are in a wheel.

    Raises:
        ValueError: it imports one in a form that this does not rewrite.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import) and any(_is_moved(alias.name) for alias in node.names):
            raise ValueError(f"line {node.lineno}: expected `from {node.names[0].name} import …`")
        if isinstance(node, ast.ImportFrom) and _is_moved(str(node.module)):
            line, at = lines[node.lineno - 1], node.col_offset
            before, found, after = line[at:].partition(str(node.module))
            lines[node.lineno - 1] = f"{line[:at]}{before}{_PLACE.replace('/', '.')}.{found}{after}"
    return "".join(lines)


def _is_moved(module: str) -> bool:
    return module.partition(".")[0] in _MOVED
