"""Which proxy a URL takes: the grammar of a proxy, and the laws of NO_PROXY."""

import traceback
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from prestow.errors import InvalidError
from prestow.registry.credentials import Credential
from prestow.registry.proxy import Proxies, Proxy, is_exempt
from prestow.registry.url import Url

PROXY = "http://user:canary@proxy.corp:3128"
BOTH = Proxies(("HTTPS_PROXY", PROXY), ("HTTP_PROXY", PROXY))

labels = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
names = st.lists(labels, min_size=2, max_size=4).map(".".join)
addresses = st.ip_addresses().map(str)
ports = st.integers(1, 65535)


def url_of(host: str, port: int = 443) -> Url:
    return Url("https", host, port)


@pytest.mark.parametrize(
    ("text", "url", "credential"),
    [
        ("proxy.corp:3128", "http://proxy.corp:3128", None),
        ("http://proxy.corp", "http://proxy.corp", None),
        ("HTTPS://Proxy.corp/", "https://proxy.corp", None),
        ("https://proxy.corp:8443/any?thing#at-all", "https://proxy.corp:8443", None),
        ("http://[fd00::5]:3128", "http://[fd00::5]:3128", None),
        (" http://10.0.0.1:3128 ", "http://10.0.0.1:3128", None),
        ("user:pass@proxy.corp:3128", "http://proxy.corp:3128", Credential("user", "pass")),
        ("http://us%20er:p%40ss%3A%2F%25@proxy.corp", "http://proxy.corp", Credential("us er", "p@ss:/%")),
        ("http://user:p@ss:w@proxy.corp", "http://proxy.corp", Credential("user", "p@ss:w")),
        ("http://user@proxy.corp", "http://proxy.corp", Credential("user", "")),
        ("http://w%C3%B6rd:w%C3%B6rd@proxy.corp", "http://proxy.corp", Credential("wörd", "wörd")),
        ("http://@proxy.corp", "http://proxy.corp", None),
    ],
)
def test_a_proxy_is_read_as_curl_and_go_read_it(text: str, url: str, credential: Credential | None) -> None:
    proxy = Proxy.parse(text, "https_proxy")

    assert (str(proxy), proxy.credential) == (url, credential)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://",
        "//proxy.corp:3128",
        "ftp://user:canary@proxy.corp",
        "http://user:can/ary@proxy.corp",
        "http://user:canary#@proxy.corp",
        "http://user:canary@proxy.corp:port",
        "http://user:canary@pro xy.corp",
        "http://user:canary%ff@proxy.corp",
        "http://proxy.corp:canary",
        "socks5h://user:canary@proxy.corp:1080",
        "SOCKS://canary.corp",
    ],
)
def test_what_is_no_proxy_is_refused_by_the_name_of_its_source_alone(text: str) -> None:
    with pytest.raises(InvalidError, match=r"^HTTPS_PROXY: ") as caught:
        Proxy.parse(text, "HTTPS_PROXY")

    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert ("SOCKS" in str(caught.value)) == text.lower().startswith("socks")


def test_a_proxy_is_printed_without_its_password() -> None:
    proxy = BOTH.choose(url_of("registry.example"))

    assert str(proxy) == "http://proxy.corp:3128"
    assert "canary" not in f"{proxy!r} {BOTH!r}"


def test_each_scheme_has_a_proxy_of_its_own_which_is_checked_when_it_is_used() -> None:
    proxies = Proxies(https=("HTTPS_PROXY", "socks5://proxy.corp"), http=("all_proxy", "plain.corp:3128"))

    assert str(proxies.choose(Url.parse("http://registry.example"))) == "http://plain.corp:3128"
    assert proxies.choose(Url.parse("https://localhost")) is None
    assert Proxies().choose(Url.parse("http://registry.example")) is None
    with pytest.raises(InvalidError, match=r"^HTTPS_PROXY: SOCKS"):
        proxies.choose(Url.parse("https://registry.example"))


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost.", "a.localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::",
        "127.1", "0x7f.1", "2130706433", "127.0.0.1.",
    ],
)  # fmt: skip
def test_this_host_is_never_asked_for_through_a_proxy(host: str) -> None:
    assert BOTH.choose(url_of(host)) is None
    assert BOTH.choose(Url("http", host, 80)) is None


@pytest.mark.parametrize(
    ("exempt", "host", "expected"),
    [
        ("corp.example", "corp.example", True),
        ("corp.example", "registry.corp.example", True),
        ("corp.example", "notcorp.example", False),
        (".corp.example", "registry.corp.example", True),
        (".corp.example", "corp.example", False),
        ("*.corp.example", "a.b.corp.example", True),
        ("*.corp.example", "corp.example", False),
        ("*corp.example", "corp.example", False),
        ("Corp.Example", "corp.example", True),
        ("corp.example.", "corp.example", True),
        ("corp.example", "corp.example.", True),
        ("a.example, corp.example", "corp.example", True),
        ("a.example corp.example", "corp.example", True),
        ("a.example,*", "corp.example", True),
        ("corp.example:443", "corp.example", True),
        ("corp.example:5000", "corp.example", False),
        (".corp.example:443", "registry.corp.example", True),
        ("10.0.0.5", "10.0.0.5", True),
        ("10.0.0.5:443", "10.0.0.5", True),
        ("10.0.0.5:80", "10.0.0.5", False),
        ("0.0.5", "10.0.0.5", False),
        (".5", "10.0.0.5", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.7/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("10.0.0.0/8", "10.registry.example", False),
        ("fd00::/8", "fd00::5", True),
        ("fd00::5", "fd00:0::5", True),
        ("[fd00::5]", "fd00::5", True),
        ("[fd00::5]:443", "fd00::5", True),
        ("[fd00::5]:80", "fd00::5", False),
        ("10.0.0.0/99", "10.0.0.1", False),
        ("", "corp.example", False),
        (",, ,", "corp.example", False),
        (".", "corp.example", False),
        ("*.", "corp.example", False),
        (":443", "corp.example", False),
    ],
)
def test_an_entry_of_no_proxy_matches_as_in_go(exempt: str, host: str, expected: bool) -> None:  # noqa: FBT001 - a table
    assert is_exempt(url_of(host), exempt) is expected
    assert (Proxies(("HTTPS_PROXY", PROXY), None, exempt).choose(url_of(host)) is None) is expected


@given(names, names, ports)
def test_a_name_exempts_itself_and_what_is_below_it_and_nothing_else(name: str, other: str, port: int) -> None:
    assume(not f".{other}".endswith(f".{name}"))

    assert is_exempt(url_of(name, port), name)
    assert is_exempt(url_of(f"below.{name}", port), name)
    assert is_exempt(url_of(f"below.{name}", port), f".{name}")
    assert not is_exempt(url_of(name, port), f".{name}")
    assert not is_exempt(url_of(other, port), name)
    assert not is_exempt(url_of(f"not{name}", port), name)


@given(st.one_of(names, addresses), ports, ports)
def test_a_port_exempts_that_port_alone(host: str, port: int, other: int) -> None:
    entry = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    assert is_exempt(url_of(host, port), entry)
    assert is_exempt(url_of(host, other), entry) == (other == port)


@given(addresses, st.integers(0, 32), addresses)
def test_a_network_exempts_its_addresses(member: str, bits: int, other: str) -> None:
    assume(not any(getattr(ip_address(each), "ipv4_mapped", None) for each in (member, other)))  # they are IPv4
    network = ip_network(f"{member}/{bits}", strict=False)

    assert is_exempt(url_of(member), str(network))
    assert is_exempt(url_of(other), str(network)) == (ip_address(other) in network)


@example("0.0.0.0", "\0", [])
@example("0.0.0.0", "\u0660", [])
@given(st.one_of(names, addresses), st.text(max_size=40), st.lists(st.one_of(names, addresses), max_size=4))
def test_an_entry_more_never_exempts_less(host: str, noise: str, entries: list[str]) -> None:
    listed = ",".join(entries)
    before = is_exempt(url_of(host), listed)

    assert is_exempt(url_of(host), f"{listed},{noise}") >= before
    assert is_exempt(url_of(host), f"{noise},{listed}") >= before
    assert is_exempt(url_of(host), f"{noise},*")
