"""What registries say of their quota, in all the forms of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.registry.quota import Quota, parse_quota

HUB = {
    "ratelimit-limit": ["100;w=21600"],
    "ratelimit-remaining": ["76;w=21600"],
    "docker-ratelimit-source": ["192.0.2.1"],
}


def quota(headers: dict[str, list[str]]) -> Quota | None:
    return parse_quota(lambda name: headers.get(name.lower(), []))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param(HUB, Quota(76, 100, 21600, None, "192.0.2.1"), id="Docker Hub"),
        pytest.param({**HUB, "ratelimit-remaining": ["0;w=21600"]}, Quota(0, 100, 21600, None, "192.0.2.1"), id="none"),
        pytest.param(
            {"ratelimit-limit": ["100, 100;w=60"], "ratelimit-remaining": ["76"], "ratelimit-reset": ["30"]},
            Quota(76, 100, 60, 30),
            id="draft 6",
        ),
        pytest.param(
            {"ratelimit": ["limit=100, remaining=76, reset=30"], "ratelimit-policy": ["100;w=60"]},
            Quota(76, 100, 60, 30),
            id="draft 7",
        ),
        pytest.param(
            {"ratelimit": ['"a;b";r=76;t=30'], "ratelimit-policy": ['"a;b";q=100;w=60']},
            Quota(76, 100, 60, 30),
            id="draft 10",
        ),
        pytest.param(
            {"ratelimit-limit": ["600"], "ratelimit-remaining": ["599"], "ratelimit-reset": ["1790000000"]},
            Quota(599, 600),
            id="GitLab",
        ),
        pytest.param({"ratelimit-remaining": ["76"]}, Quota(76), id="what is left alone"),
        pytest.param({"ratelimit-limit": ["100;w=21600"]}, None, id="the limit alone"),
        pytest.param({}, None, id="nothing"),
        pytest.param({"ratelimit-remaining": ["many"]}, None, id="no number"),
        pytest.param({"ratelimit-remaining": ["-1"]}, None, id="a negative number"),
        pytest.param({"ratelimit-remaining": ["٣"]}, None, id="another script's digits"),
        pytest.param({"ratelimit-remaining": ["9" * 5000]}, None, id="too large"),
    ],
)  # fmt: skip
def test_a_quota_is_understood_in_each_form(headers: dict[str, list[str]], expected: Quota | None) -> None:
    assert quota(headers) == expected


def test_whose_quota_it_is_moves_no_cursor_and_is_short() -> None:
    found = quota({**HUB, "docker-ratelimit-source": ["\x1b[2J" + "x" * 500]})

    assert found is not None
    assert found.source is not None
    assert found.source.isprintable()
    assert len(found.source) < 100


@given(
    st.dictionaries(st.sampled_from([*HUB, "ratelimit", "ratelimit-policy", "ratelimit-reset"]), st.lists(st.text()))
)
def test_no_header_makes_an_error(headers: dict[str, list[str]]) -> None:
    quota(headers)
