"""Where the Prefect project (``flows/``, ``tasks/``, ``config/``, ``deployments/``) is.

In a checkout it lies beside this package; a wheel carries it as ``prestow/_project``, because top-level packages
with such names would be overwritten by, or overwrite, those of others.
"""

import sys
from pathlib import Path


def root() -> Path:
    """Give the folder that holds ``flows/`` and its siblings."""
    here = Path(__file__).resolve().parent
    carried = here / "_project"
    return carried if carried.is_dir() else here.parent


def activate() -> Path:
    """Put the project first on ``sys.path``, so that ``from flows.pull import pull`` is ours; return its root."""
    folder = root()
    if sys.path[:1] != [str(folder)]:
        sys.path.insert(0, str(folder))
    return folder
