"""What the launcher adds to Prefect's server, each on its own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flows.local_server.launcher import retry_soon, settings


def test_every_setting_of_the_server_is_one_that_prefect_knows(tmp_path: Path) -> None:
    from prefect.settings import Settings

    known = {name.upper() for name in _environment_names(Settings)}
    ours = {name for name in settings(tmp_path, port=1, auth="a:b") if name.startswith("PREFECT_")}
    assert ours - known == set()


@pytest.mark.parametrize(("code", "added"), [(503, [(b"retry-after", b"0.05")]), (500, []), (200, [])])
def test_only_a_busy_reply_says_when_to_come_back(code: int, added: list[Any]) -> None:
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": code, "headers": [(b"a", b"b")]})
        await send({"type": "http.response.body", "body": b""})

    async def send(message: Any) -> None:
        sent.append(message)

    coroutine: Any = retry_soon(application)({}, None, send)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        coroutine.send(None)
    assert sent[0]["headers"] == [(b"a", b"b"), *added]
    assert sent[1]["type"] == "http.response.body"


def _environment_names(model: Any) -> Iterator[str]:
    """Yield the names of all environment variables of a settings model and the models in it."""
    for name, field in model.model_fields.items():
        alias = field.validation_alias
        yield from (c for c in getattr(alias, "choices", ()) if isinstance(c, str))
        yield f"{model.model_config.get('env_prefix', '')}{name}"
        if hasattr(field.annotation, "model_fields"):
            yield from _environment_names(field.annotation)
