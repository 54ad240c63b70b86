"""Hosts files: every key in all its forms, the order in which directories are looked at, and what breaks a rule."""

import logging
from pathlib import Path

import pytest

from prestow.errors import InvalidError, PrestowError, StorageError
from prestow.registry.endpoints import endpoints
from prestow.registry.hosts import Endpoint, Options, Timeouts, Tls
from prestow.registry.hosts_file import find_hosts_file
from tests.hosts_files import write_hosts

EVERYTHING = """
server = "https://registry.example"
capabilities = ["pull", "resolve", "push"]
ca = "server.pem"
[header]
X-One = "1"
X-Many = ["a", "b"]

[host."https://z.example/api"]
capabilities = ["pull"]
ca = ["/etc/z.pem", "also.pem"]
client = [["z.cert", "z.key"], "both.pem", ["only.pem"], ["none.pem", ""]]
skip_verify = true
dial_timeout = "1m30s"

[host."a.example:5000/v2"]
client = "both.pem"
dial_timeout = "500ms"
[host."a.example:5000/v2".prestow]
proxy = "http://user:secret@proxy.example:3128"
[host."a.example:5000/v2".prestow.timeouts]
blob = "10m"
idle = "1.5s"
least_rate = 100

[host."http://plain.example/team/proxy"]
prestow = { proxy = "none", credentials = "block:plain-1" }
override_path = true
capabilities = ["resolve", "referrers"]
"""


def by_name(domain: str, options: Options) -> dict[str, Endpoint]:
    found = (*endpoints(domain, options, "pull"), *endpoints(domain, options, "resolve"))
    return {endpoint.name: endpoint for endpoint in found}


def test_every_key_counts_in_each_of_its_forms(tmp_path: Path) -> None:
    options = write_hosts(tmp_path, "registry.example", EVERYTHING)
    own = tmp_path / "registry.example"

    found = by_name("registry.example", options)

    assert [str(e.base) for e in endpoints("registry.example", options, "pull")] == [
        "https://z.example/api/v2", "https://a.example:5000/v2", "https://registry.example/v2",
    ]  # fmt: skip
    assert [str(e.base) for e in endpoints("registry.example", options, "resolve")] == [
        "https://a.example:5000/v2", "http://plain.example/team/proxy", "https://registry.example/v2",
    ]  # fmt: skip
    assert found["z.example"].tls == Tls(
        ca=(Path("/etc/z.pem"), own / "also.pem"),
        clients=(
            (own / "z.cert", own / "z.key"),
            (own / "both.pem", None),
            (own / "only.pem", None),
            (own / "none.pem", None),
        ),
        verify=False,
    )
    assert found["z.example"].timeouts == Timeouts(connect=90)
    assert found["a.example:5000"].tls == Tls(clients=((own / "both.pem", None),))
    assert found["a.example:5000"].timeouts == Timeouts(connect=0.5, blob=600, idle=1.5, rate=100)
    assert found["registry.example"].headers == (("X-One", "1"), ("X-Many", "a"), ("X-Many", "b"))
    assert found["registry.example"].tls == Tls(ca=(own / "server.pem",))
    assert {name: str(endpoint.proxy) for name, endpoint in found.items()} == {
        "z.example": "default", "a.example:5000": "http://proxy.example:3128", "plain.example": "None",
        "registry.example": "default",
    }  # fmt: skip
    assert {name: endpoint.credentials for name, endpoint in found.items() if endpoint.credentials} == {
        "plain.example": "block:plain-1"
    }
    assert [endpoint.is_mirror for endpoint in found.values()] == [True, True, False, True]


@pytest.mark.parametrize(
    ("domain", "there", "decides"),
    [
        ("r.example:5000", ["1/r.example_5000_", "1/r.example:5000", "1/_default"], "1/r.example_5000_"),
        ("r.example:5000", ["1/r.example:5000", "1/_default"], "1/r.example:5000"),
        ("r.example:5000", ["1/r.example", "1/_default"], "1/_default"),
        ("r.example", ["1/_default", "2/r.example"], "1/_default"),
        ("r.example", ["2/r.example", "2/_default"], "2/r.example"),
        ("[::1]:5000", ["1/[::1]_5000_"], "1/[::1]_5000_"),
        ("[::1]", ["1/[::1]"], "1/[::1]"),
        ("docker.io", ["1/docker.io"], "1/docker.io"),
        ("r.example", ["1/other.example"], None),
    ],
)
def test_the_first_directory_that_has_the_registry_decides(
    tmp_path: Path, domain: str, there: list[str], decides: str | None
) -> None:
    for place in there:
        write_hosts(tmp_path, place, "[header]\nX = 'y'")

    found = find_hosts_file(domain, (tmp_path / "none", tmp_path / "1", tmp_path / "2"))

    assert (found and found.path) == (decides and tmp_path / decides / "hosts.toml")


def test_without_a_hosts_file_docker_s_certificates_count(tmp_path: Path) -> None:
    own = tmp_path / "r.example"
    own.mkdir()
    for name in ("b.crt", "a.crt", "me.cert", "me.key", "alone.cert", "README"):
        (own / name).touch()

    (endpoint,) = endpoints("r.example", Options(directories=(tmp_path,)), "pull")

    clients = ((own / "alone.cert", None), (own / "me.cert", own / "me.key"))
    assert endpoint.tls == Tls(ca=(own / "a.crt", own / "b.crt"), clients=clients)
    (own / "hosts.toml").write_text("ca = 'c.pem'")
    (endpoint,) = endpoints("r.example", Options(directories=(tmp_path,)), "pull")
    assert endpoint.tls == Tls(ca=(own / "c.pem",))


@pytest.mark.parametrize(
    ("domain", "text", "base", "name"),
    [
        ("localhost:5000", "", "http://localhost:5000/v2", "localhost:5000"),
        ("localhost:5000", "ca = 'ca.pem'", "https://localhost:5000/v2", "localhost:5000"),
        ("localhost:5000", "skip_verify = true", "https://localhost:5000/v2", "localhost:5000"),
        ("localhost:5000", "server = 'https://localhost:5000'", "https://localhost:5000/v2", "localhost:5000"),
        ("r.example", "server = 'http://r.example'", "http://r.example/v2", "r.example"),
        ("r.example:443", "server = 'https://r.example'", "https://r.example/v2", "r.example:443"),
        ("docker.io", "server = 'https://registry-1.docker.io/v2/'", "https://registry-1.docker.io/v2", "docker.io"),
        ("docker.io", "server = 'https://cache.example'", "https://cache.example/v2", "cache.example"),
        ("r.example", "server = 'cache.example:5000'", "https://cache.example:5000/v2", "cache.example:5000"),
    ],
)
def test_the_server_is_where_the_file_says(tmp_path: Path, domain: str, text: str, base: str, name: str) -> None:
    (endpoint,) = endpoints(domain, write_hosts(tmp_path, domain, text), "resolve")

    assert (str(endpoint.base), endpoint.name, endpoint.domain) == (base, name, domain)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("server = 1", "server: expected a URL"),
        ("server = 'ftp://x.example'", "expected https:// or http://"),
        ("server = 'https://user:canary@x.example'", "must not carry a user name"),
        ("server = 'https://x.example?q=1'", "must not have a query"),
        ("capabilities = ['fly']", r"capabilities: 'fly' is unknown; known are pull, resolve"),
        ("capabilities = 'pull'", "capabilities: expected an array of strings"),
        ("capabilities = ['push']", "no server with capability 'pull'"),
        ("ca = 1", "ca: expected"),
        ("client = [1]", "client: expected a file"),
        ("client = [['a', 'b', 'c']]", "client: expected a file"),
        ("skip_verify = 'yes'", "skip_verify: expected true or false"),
        ("dial_timeout = 10", "dial_timeout: expected a string"),
        ("dial_timeout = '10'", "dial_timeout: expected a duration such as 10s"),
        ("dial_timeout = '0s'", "dial_timeout: expected a duration such as 10s"),
        ("header = 'X: y'", "header: expected an object"),
        ("[header]\nX = 1", "X: expected"),
        ("host = 'a.example'", "host: expected tables"),
        ("[host]\n'a.example' = 1", "host.'a.example': expected an object"),
        (
            "[prestow]\nspeed = 1",
            "prestow: speed: no such key; known are connections, credentials, proxy, rate, timeouts",
        ),
        ('[prestow]\ncredentials = "canary"', "prestow: credentials: expected block:NAME"),
        ('[host."https://a.example".prestow]\ncredentials = 1', "prestow: credentials: expected a string"),
        ("[prestow]\nproxy = 'socks5://user:canary@p.example'", "prestow: proxy: SOCKS proxies are not supported"),
        ("[prestow]\nproxy = 1", "prestow: proxy: expected a string"),
        ("[prestow.timeouts]\nwait = '1s'", "timeouts: wait: no such key; known are blob"),
        ("[prestow]\nconnections = 0", "prestow: connections: expected a number above 0, found 0"),
        ("[prestow]\nrate = -5", "prestow: rate: expected"),
        ("[prestow.timeouts]\nleast_rate = -1", "least_rate: expected an integer"),
        ("x = ", "not TOML"),
        ("\xff\x00", "not TOML"),
    ],
)
def test_a_file_that_breaks_a_rule_is_refused_by_file_and_key(tmp_path: Path, text: str, complaint: str) -> None:
    options = write_hosts(tmp_path, "r.example", text)

    with pytest.raises(InvalidError, match=complaint) as raised:
        endpoints("r.example", options, "pull")

    assert "canary" not in str(raised.value)


def test_a_key_that_is_not_known_is_named_and_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = write_hosts(tmp_path, "r.example", "speed = 1\n[host.'a.example']\ncapabilites = []")

    with caplog.at_level(logging.WARNING):
        assert len(endpoints("r.example", options, "pull")) == len(endpoints("r.example", options, "resolve")) == 2

    said = [record.getMessage() for record in caplog.records]
    file = tmp_path / "r.example/hosts.toml"
    keys = ("speed", "host.'a.example'.capabilites")
    assert said == [f"{file}: key {key} is unknown and ignored" for key in keys]
    found = find_hosts_file("r.example", options.directories)
    assert found is not None
    assert found.unknown == keys


def test_what_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "r.example/hosts.toml").mkdir(parents=True)

    with pytest.raises(StorageError, match=r"r\.example: Is a directory"):
        endpoints("r.example", Options(directories=(tmp_path,)), "pull")


def test_headers_are_not_shown(tmp_path: Path) -> None:
    options = write_hosts(tmp_path, "r.example", "[header]\nAuthorization = 'canary'")

    assert "canary" not in repr(find_hosts_file("r.example", options.directories))
    write_hosts(tmp_path, "r.example", "[header]\nAuthorization = ['canary', 1]")
    with pytest.raises(PrestowError) as raised:
        endpoints("r.example", options, "pull")
    assert "canary" not in str(raised.value)
