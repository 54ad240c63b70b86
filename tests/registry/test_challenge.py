"""WWW-Authenticate: the grammar, and that nothing else gets through."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import InvalidError
from prestow.registry.challenge import Challenge, parse_challenges

HUB = 'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull"'


def test_docker_hubs_challenge_is_read() -> None:
    (challenge,) = parse_challenges([HUB])

    assert challenge.scheme == "bearer"
    assert challenge.parameters == {
        "realm": "https://auth.docker.io/token",
        "service": "registry.docker.io",
        "scope": "repository:library/alpine:pull",
    }


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("Basic", [("basic", {})]),
        ('BASIC Realm="x"', [("basic", {"realm": "x"})]),
        ("Basic realm=x", [("basic", {"realm": "x"})]),
        ("Bearer realm=https://h/token?a=b,service=s", [("bearer", {"realm": "https://h/token?a=b", "service": "s"})]),
        ('Basic realm="a \\"b\\" \\\\ c"', [("basic", {"realm": 'a "b" \\ c'})]),
        ('Basic realm = "x" , charset = "UTF-8"', [("basic", {"realm": "x", "charset": "UTF-8"})]),
        (
            'Basic realm="x", Bearer realm="y",scope="a:b:pull,push"',
            [("basic", {"realm": "x"}), ("bearer", {"realm": "y", "scope": "a:b:pull,push"})],
        ),
        ("Negotiate YIIB+/==, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
        (",, Basic realm=x ,,", [("basic", {"realm": "x"})]),
        ('Basic realm=""', [("basic", {"realm": ""})]),
        ("", []),
    ],
)
def test_challenges_are_read(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    assert [(found.scheme, found.parameters) for found in parse_challenges([header])] == expected


def test_several_headers_are_several_challenges() -> None:
    assert [found.scheme for found in parse_challenges(["Basic realm=x", HUB])] == ["basic", "bearer"]


@pytest.mark.parametrize(
    "header",
    [
        'Bearer realm="x',
        'Bearer realm="x" service="y"',
        'Bearer realm="x",realm="y"',
        'realm="x"',
        'Basic realm="x" Bearer realm="y"',
        'Bearer "x"',
        'Bearer realm="a\r\nX: y"',
        "Bearer = x",
        "=",
        '"',
        "Bearer " + "a" * 9000,
        "Bearer " + ",".join(f"a{n}=b" for n in range(100)),
    ],
)
def test_what_breaks_the_grammar_is_refused(header: str) -> None:
    with pytest.raises(InvalidError, match="WWW-Authenticate"):
        parse_challenges([header])


@pytest.mark.parametrize("piece", ["a", " ", ",", '"', "\\", "=", "a=", 'a="', "a,", "a a", "a=b,", "\t"])
def test_a_header_of_any_repetition_is_read_in_linear_time(piece: str) -> None:
    with suppress(InvalidError):  # what is tested is that it ends
        parse_challenges(["Bearer " + piece * (8000 // len(piece))])


TOKENS = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(TOKENS, st.dictionaries(TOKENS.map(str.lower), VALUES, max_size=4)), max_size=4))
def test_what_is_written_by_the_grammar_is_read_back(challenges: list[tuple[str, dict[str, str]]]) -> None:
    def quoted(value: str) -> str:
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'

    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in challenges
    )

    assert list(parse_challenges([header])) == [Challenge(scheme.lower(), found) for scheme, found in challenges]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.text(max_size=50), max_size=3))
def test_any_header_is_read_or_refused(headers: list[str]) -> None:
    try:
        parse_challenges(headers)
    except InvalidError:
        return
