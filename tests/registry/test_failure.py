"""Statuses: what each means, when to come again, and what of the registry's words is shown."""

import re
from contextlib import closing
from datetime import UTC, datetime

import pytest

from prestow.errors import (
    InvalidError,
    NotFoundError,
    PrestowError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedError,
)
from prestow.registry.failure import failure
from prestow.registry.hosts import Options
from prestow.registry.http import Connections, Headers, Request
from prestow.registry.statuses import retry_after
from prestow.registry.url import Url
from tests.registries import Fault, FaultRegistry

NOW = datetime(2026, 8, 1, 12, 0, 0, tzinfo=UTC)


def error_of(registry: FaultRegistry, fault: Fault, private: Headers = ()) -> PrestowError:
    registry.on("", fault)
    request = Request("GET", Url.parse(registry.url + "/v2/?signature=canary"), private=private)
    with closing(Connections(Options())) as connections, connections.exchange(request) as response:
        return failure(response, "a blob")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (401, UnauthorizedError),
        (403, UnauthorizedError),
        (404, NotFoundError),
        (408, UnavailableError),
        (425, UnavailableError),
        (429, UnavailableError),
        (500, UnavailableError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
        (522, UnavailableError),
        (501, UnsupportedError),
        (505, UnsupportedError),
        (400, InvalidError),
        (410, InvalidError),
        (206, InvalidError),
        (299, InvalidError),
        (799, UnavailableError),
    ],
)
def test_a_status_says_what_the_caller_can_do(
    fault_registry: FaultRegistry, status: int, expected: type[PrestowError]
) -> None:
    error = error_of(fault_registry, Fault(status=status))

    assert type(error) is expected
    assert str(error).startswith(f"a blob: {fault_registry.url} answered {status}")
    assert "canary" not in str(error)


def test_a_busy_registry_says_when_to_come_again(fault_registry: FaultRegistry) -> None:
    assert error_of(fault_registry, Fault(status=429, headers={"Retry-After": "7"})).retry_after == 7


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("30", 30),
        ("1000000000", 86400),
        ("9" * 20, 86400),
        ("Sat, 01 Aug 2026 12:01:30 GMT", 90),
        ("Sat, 01 Aug 2026 11:00:00 GMT", 0),
        ("Sat, 01 Aug 2096 11:00:00 GMT", 86400),
        ("-1", None),
        ("1.5", None),
        ("x", None),
        ("", None),
        ("9" * 500, None),
    ],
)
def test_retry_after_is_a_number_or_a_date_within_a_day(header: str, seconds: float | None) -> None:
    assert retry_after((header,), lambda: NOW) == seconds


def test_without_a_header_nothing_is_said_of_when() -> None:
    assert retry_after(()) is None


def test_the_registrys_words_are_shown_harmlessly(fault_registry: FaultRegistry) -> None:
    body = b'{"errors":[{"code":"TOOMANYREQUESTS","message":"rate \\u001b[31mlimit\\n' + b"x" * 1000 + b'"}]}'

    text = str(error_of(fault_registry, Fault(status=429, body=body)))

    assert "TOOMANYREQUESTS: rate \\x1b[31mlimit\\n" in text
    assert len(text) < 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"errors":[]}',
        b'{"errors":[null]}',
        b'{"errors":{"code":"X"}}',
        b'{"errors":[{"code":"\\u001b[31m"}]}',
        b'{"errors":[{"code":7}]}',
        b"[" * 4000,
        b" " * 100_000,
        b"\xff\xfe",
    ],
)
def test_words_of_another_form_are_left_out(fault_registry: FaultRegistry, body: bytes) -> None:
    assert re.search(
        r"answered 500 Internal Server Error$", str(error_of(fault_registry, Fault(status=500, body=body)))
    )


def test_where_credentials_were_sent_only_the_code_is_shown(fault_registry: FaultRegistry) -> None:
    fault = Fault(status=403, body=b'{"errors":[{"code":"DENIED","message":"canary is no good"}]}')

    text = str(error_of(fault_registry, fault, (("Authorization", "Bearer canary"),)))

    assert "(DENIED)" in text
    assert "canary" not in text


def test_a_body_that_breaks_off_takes_nothing_away_from_the_status(fault_registry: FaultRegistry) -> None:
    fault = Fault(status=404, body=b"x" * 100, drop_after=10)

    assert isinstance(error_of(fault_registry, fault), NotFoundError)
