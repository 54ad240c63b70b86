"""URLs: what is one, where it leads, and what is printed of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import InvalidError
from prestow.registry.url import Url, is_loopback


@pytest.mark.parametrize(
    ("text", "origin", "target"),
    [
        ("https://registry.example/v2", "https://registry.example", "/v2"),
        ("https://REGISTRY.example:443", "https://registry.example", "/"),
        ("http://registry.example:80/x", "http://registry.example", "/x"),
        ("http://registry.example:5000/x?y=z#f", "http://registry.example:5000", "/x?y=z"),
        ("http://[::1]:5000/v2", "http://[::1]:5000", "/v2"),
        ("https://h/a/../b/%2e%2e/c", "https://h", "/a/../b/%2e%2e/c"),
    ],
)
def test_a_url_has_an_origin_and_a_target_that_is_sent_as_it_stands(text: str, origin: str, target: str) -> None:
    url = Url.parse(text)

    assert (url.origin, url.target) == (origin, target)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "registry.example",
        "//registry.example/v2",
        "file:///etc/passwd",
        "ftp://h/",
        "https://",
        "https:///v2",
        "https://h:0/",
        "https://h:65536/",
        "https://h:x/",
        "https://user:canary@h/",
        "https://h /",
        "https://h/\r\nX: y",
        "https://h/\x00",
        "https://hä/",
        "https://[fe80::1%25eth0]/",
        "https://[nonsense]/",
        "https://-h/",
        "https://h/" + "a" * 20000,
    ],
)
def test_what_is_no_url_of_a_registry_is_refused_without_its_secrets(text: str) -> None:
    with pytest.raises(InvalidError) as caught:
        Url.parse(text)

    assert "canary" not in str(caught.value)


def test_people_see_a_url_without_its_query() -> None:
    assert str(Url.parse("https://h/path?X-Amz-Signature=canary")) == "https://h/path"


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://other/x", "https://other/x"),
        ("//other/x", "https://other/x"),
        ("/x?q=1", "https://h/x"),
        ("x", "https://h/v2/x"),
        ("?q=1", "https://h/v2/r"),
    ],
)
def test_a_location_is_seen_from_the_url_that_names_it(location: str, expected: str) -> None:
    assert str(Url.parse("https://h/v2/r").join(location)) == expected


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://", "a b", "https://u:p@h/", "http://[x", "\t"])
def test_a_location_that_is_no_url_is_refused(location: str) -> None:
    with pytest.raises(InvalidError):
        Url.parse("https://h/v2/r").join(location)


def test_parameters_are_encoded_so_that_none_becomes_another() -> None:
    url = Url.parse("https://h/token?a=b").with_query(service="x&scope=y#z", scope="repository:a/b:pull")

    assert url.target == "/token?a=b&service=x%26scope%3Dy%23z&scope=repository:a/b:pull"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost.evil", False),
        ("10.0.0.1", False),
        ("registry.example", False),
    ],
)
def test_loopback_is_this_machine_as_it_is_written(host: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert is_loopback(host) is expected


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=60).map(lambda text: f"https://{text}") | st.text(max_size=60))
def test_any_text_is_a_url_or_an_invalid_one(text: str) -> None:
    try:
        url = Url.parse(text)
    except InvalidError:
        return
    assert Url.parse(url.origin + url.target) == url
