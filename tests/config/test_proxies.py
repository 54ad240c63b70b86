"""Which variables name the proxies."""

import pytest

from config.proxies import proxy_variables


@pytest.mark.parametrize(
    ("environment", "https", "http"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "a"}, ("HTTPS_PROXY", "a"), None),
        ({"https_proxy": "a", "HTTPS_PROXY": "b"}, ("https_proxy", "a"), None),
        ({"https_proxy": "", "HTTPS_PROXY": "b"}, ("HTTPS_PROXY", "b"), None),
        ({"HTTP_PROXY": "b"}, None, ("HTTP_PROXY", "b")),
        ({"http_proxy": "a", "HTTP_PROXY": "b"}, None, ("http_proxy", "a")),
        ({"ALL_PROXY": "c"}, ("ALL_PROXY", "c"), ("ALL_PROXY", "c")),
        ({"all_proxy": "c", "HTTPS_PROXY": "b"}, ("HTTPS_PROXY", "b"), ("all_proxy", "c")),
        ({"HTTP_PROXY": "evil", "REQUEST_METHOD": "GET"}, None, None),
        ({"HTTP_PROXY": "evil", "http_proxy": "a", "REQUEST_METHOD": "GET"}, None, ("http_proxy", "a")),
    ],
)
def test_the_scheme_s_own_variable_wins_and_lower_case_before_upper(
    environment: dict[str, str], https: tuple[str, str] | None, http: tuple[str, str] | None
) -> None:
    assert proxy_variables(environment) == (https, http, "")


@pytest.mark.parametrize(
    ("environment", "exempt"),
    [
        ({"NO_PROXY": "a,b"}, "a,b"),
        ({"NO_PROXY": "a", "no_proxy": "b"}, "b"),
        ({"NO_PROXY": "a", "no_proxy": ""}, "a"),
    ],
)
def test_the_exempt_targets_are_one_variable_s(environment: dict[str, str], exempt: str) -> None:
    assert proxy_variables(environment)[2] == exempt
