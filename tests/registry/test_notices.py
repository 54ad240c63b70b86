"""Warnings of registries: which headers count as one, and what of them is shown."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.reference import Reference
from prestow.registry.credentials import Credential, Credentials
from prestow.registry.hosts import Options
from prestow.registry.notices import warnings
from prestow.registry.source import Sources
from tests.registries import Access, Fault, FaultRegistry


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (['299 - "Your auth token will expire in 30 seconds."'], ["Your auth token will expire in 30 seconds."]),
        (['299 - "a"', '299 - "b, \\"c\\""'], ["a", 'b, "c"']),
        (['299 - "a", 299 - "b"'], ["a", "b"]),
        (['  299 - "a"  ,299 - "b" "Wed, 21 Oct 2026 07:28:00 GMT"'], ["a", "b"]),
        (['110 proxy "Response is Stale", 299 - "a", 299 cache.example "theirs"'], ["a"]),
        (["299 - a"], []),
        (['299 - "'], []),
        (['299 - ""'], []),
        (['299 - "a" nonsense, 299 - "b"'], []),
        (['299 - "' + "x" * 5000 + '"', '299 - "b"'], []),
        (['299 - "299 - \\"nested\\""'], ['299 - "nested"']),
        ([], []),
    ],
)
def test_only_a_registry_s_own_warnings_count(values: list[str], expected: list[str]) -> None:
    assert list(warnings(values)) == expected


@given(st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), min_size=1, max_size=100))
def test_any_text_that_is_quoted_comes_back(text: str) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')

    assert list(warnings([f'299 - "{quoted}"'])) == [text]


def heard(
    registry: FaultRegistry, caplog: pytest.LogCaptureFixture, credentials: Credentials | None = None
) -> list[str]:
    """What is logged while a name is resolved."""
    caplog.clear()
    with Sources(Options(), credentials=credentials or Credentials(lambda *_: None)) as sources:
        sources.open(Reference.parse(f"{registry.domain}/team/app:demo")).resolve()
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def test_a_warning_is_shown_as_one_short_harmless_line(
    fault_registry: FaultRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    fault_registry.on("/manifests/", Fault(headers={"Warning": '299 - "\x1b[2J' + "x" * 1000 + '"'}))

    (line,) = heard(fault_registry, caplog)

    assert line.startswith(f"{fault_registry.domain} warns: \\x1b[2Jxxx")
    assert len(line) < 400


@pytest.mark.parametrize("realm", [True, False])
def test_a_warning_that_repeats_a_secret_is_not_shown(
    fault_registry: FaultRegistry, caplog: pytest.LogCaptureFixture, *, realm: bool
) -> None:
    fault_registry.access = Access(fault_registry.url + "/token" if realm else None)
    sent = ["secret", *["token-1"] * realm]  # with a token, the password is behind it
    text = ", ".join(f'299 - "you sent {each}"' for each in sent) + ', 299 - "harmless"'
    fault_registry.on("/manifests/", Fault(headers={"Warning": text}))
    credentials = Credentials(lambda *_: Credential("fleet", "secret"))

    assert heard(fault_registry, caplog, credentials) == [f"{fault_registry.domain} warns: harmless"]


def test_another_server_s_warnings_are_not_the_registry_s(
    fault_registry: FaultRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultRegistry(fault_registry.layout) as other:
        other.on("", Fault(headers={"Warning": '299 - "an advertisement"'}))
        fault_registry.on("/manifests/", Fault(redirect=f"{other.url}/"))

        assert heard(fault_registry, caplog) == []
        assert len(other.seen) == 1
