"""One variable of this process's environment, for a container that is to have its value."""

import os
from collections.abc import Mapping


def variable(name: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the value of a variable; None if it is not set."""
    return environment.get(name)
