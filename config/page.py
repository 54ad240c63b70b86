"""The reference page of all settings, made from their declarations; ``make docs`` writes it."""

import sys

from config.home import DEFAULT_FILE
from config.settings import Settings

_HEAD = f"""# Settings

<!-- made by `make docs`; edit config/settings.py instead -->

Each setting is an environment variable, or a key of `{DEFAULT_FILE}` (another file: `PRESTOW_CONFIG`).
The environment wins. Proxies are not settings: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` name them
([pull through a proxy](../how-to/pull-through-a-proxy.md)).

| key | variable | default | meaning |
|---|---|---|---|
"""


def page() -> str:
    """Return the page as Markdown."""
    rows = [
        f"| `{name}` | `PRESTOW_{name.upper()}` | {_default(name)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    ]
    return _HEAD + "\n".join(rows) + "\n"


def _default(name: str) -> str:
    field = Settings.model_fields[name]
    if field.default_factory is not None:
        return "computed"
    return "none" if field.default == () else f"`{field.default}`"


if __name__ == "__main__":
    sys.stdout.write(page())
