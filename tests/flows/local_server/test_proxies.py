"""What is on loopback is asked directly, and everything else as before: the readers of the variables are the judges."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest.mock import patch
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
from websockets.proxy import get_proxy
from websockets.uri import parse_uri

from flows.local_server.proxies import bypass, direct, on_loopback

PROXY = "http://user:canary@proxy.example:3128"
OURS = ["http://127.0.0.1:4200/api", "http://localhost:4200/api", "http://[::1]:4200/api", "https://127.0.0.1/api"]
OTHERS = ["http://registry.example/v2/", "https://127.0.0.1.example/", "http://10.1.2.3:5000/", "http://notlocalhost/"]
NAMES = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "http_proxy", "https_proxy", "all_proxy", "All_Proxy"]

exemptions = st.dictionaries(
    st.sampled_from(["NO_PROXY", "no_proxy", "No_Proxy"]),
    st.lists(
        st.sampled_from(["", "*", "registry.example", ".example", "10.1.2.3", "127.0.0.1", "LOCALHOST", " ::1 "]),
        max_size=4,
    ).map(",".join),
)
proxies = st.dictionaries(st.sampled_from(NAMES), st.just(PROXY), min_size=1)


@contextmanager
def only(environment: Mapping[str, str]) -> Iterator[None]:
    with patch.dict(os.environ, dict(environment), clear=True):
        yield


def by_urllib(url: str) -> bool:
    parts = urlsplit(url)
    host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    return not proxy_bypass_environment(host) and parts.scheme in getproxies_environment()


def by_httpx(url: str) -> bool:
    with httpx.Client(verify=False) as client:
        return client._transport_for_url(httpx.URL(url)) is not client._transport


def by_websockets(url: str) -> bool:
    return get_proxy(parse_uri(url.replace("http", "ws", 1))) is not None


@settings(deadline=None, max_examples=10)
@given(proxies, exemptions)
@example({"HTTP_PROXY": PROXY}, {})
@example({"ALL_PROXY": PROXY}, {"NO_PROXY": "*"})
@example({"https_proxy": PROXY}, {"NO_PROXY": "registry.example", "no_proxy": ""})
@example({"HTTP_PROXY": PROXY}, {"NO_PROXY": "*", "No_Proxy": ""})
def test_no_reader_of_the_variables_asks_a_proxy_for_loopback_and_all_else_stays(
    set_proxies: dict[str, str], exempt: dict[str, str]
) -> None:
    before = {**set_proxies, **exempt}
    after = {**before, **bypass(before)}

    assert {name: after[name] for name in set_proxies} == set_proxies
    for asks in (by_urllib, by_httpx, by_websockets):
        with only(before):
            expected = [asks(url) for url in OTHERS]
        with only(after):
            assert [asks(url) for url in OURS] == [False] * len(OURS), asks
            assert [asks(url) for url in OTHERS] == expected, asks
    assert {**after, **bypass(after)} == after


@pytest.mark.parametrize(
    "url", [*OURS, "http://127.1.2.3:1/api", "http://LOCALHOST/api", "http://prefect.localhost/api", "http://0.0.0.0:1"]
)
def test_an_api_on_loopback_is_asked_directly_by_whatever_name(url: str) -> None:
    environment = {"HTTP_PROXY": PROXY, "HTTPS_PROXY": PROXY}

    with only(environment | bypass(environment, url)):
        assert on_loopback(url)
        assert not by_websockets(url)


@pytest.mark.parametrize("url", [*OTHERS, "https://api.prefect.cloud/api", "http://[::1", "None"])
def test_an_api_elsewhere_is_asked_as_the_user_says(url: str) -> None:
    assert not on_loopback(url)
    assert bypass({}, url) == bypass({})


@pytest.mark.parametrize("proxy", ["socks://proxy:1080", "socks5://proxy:1080", "ftp://proxy", "::"])
@pytest.mark.parametrize("client", [PrefectHttpxSyncClient, PrefectHttpxAsyncClient])
def test_a_proxy_that_httpx_cannot_use_does_not_matter_on_loopback(
    proxy: str, client: type[PrefectHttpxSyncClient | PrefectHttpxAsyncClient]
) -> None:
    before = vars(client)["__init__"]

    with only({"ALL_PROXY": proxy}), direct(OURS[0]):
        assert client() is not None

    assert vars(client)["__init__"] is before
    with direct("https://api.prefect.cloud/api"):
        assert vars(client)["__init__"] is before
