"""Which hosts a selector means, and that none is an error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.errors import InvalidError, NotFoundError
from prestow.fleet.file import FleetFile, Host, ImageSet, Selector
from prestow.fleet.select import choose_set, matches, select

HOSTS = [
    Host(name="gpu-02", labels={"role": "gpu", "site": "berlin"}),
    Host(name="gpu-01", labels={"role": "gpu", "site": "paris"}),
    Host(name="shop-7", labels={"role": "edge"}),
]
VALUES = st.sampled_from(["a", "b", "c"])
NAMES = st.from_regex(r"\A[a-c][a-c0-2]{0,2}\Z")
FLEET = st.lists(st.builds(Host, name=NAMES, labels=st.dictionaries(VALUES, VALUES, max_size=2)), max_size=8)
SELECTORS = st.builds(
    Selector,
    labels=st.dictionaries(VALUES, VALUES | st.lists(VALUES, max_size=2).map(tuple), max_size=2),
    names=st.lists(st.sampled_from(["a*", "?", "b1", "*"]), max_size=2).map(tuple),
    exclude=st.lists(st.sampled_from(["a*", "c", "*0"]), max_size=2).map(tuple),
)


def fleet(*names: str) -> FleetFile:
    return FleetFile(hosts=tuple(HOSTS), sets={name: ImageSet(images=("app:1",)) for name in names})


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (Selector(), ["gpu-02", "gpu-01", "shop-7"]),
        (Selector(labels={"role": "gpu"}), ["gpu-02", "gpu-01"]),
        (Selector(labels={"role": ("gpu", "edge")}), ["gpu-02", "gpu-01", "shop-7"]),
        (Selector(labels={"role": "gpu", "site": "paris"}), ["gpu-01"]),
        (Selector(names=("gpu-*",), exclude=("*-02",)), ["gpu-01"]),
        (Selector(names=("shop-7", "gpu-01")), ["gpu-01", "shop-7"]),
    ],
)
def test_hosts_are_selected_by_labels_names_and_exclusions(selector: Selector, expected: list[str]) -> None:
    assert [host.name for host in select("nightly", selector, HOSTS)] == expected


@given(FLEET, SELECTORS)
def test_a_selection_is_what_matches_in_its_order_and_never_empty(hosts: list[Host], selector: Selector) -> None:
    expected = [host for host in hosts if matches(selector, host)]
    if not expected:
        with pytest.raises(NotFoundError, match="image set nightly: none of"):
            select("nightly", selector, hosts)
        return

    assert list(select("nightly", selector, hosts)) == expected


@given(FLEET, SELECTORS, st.sampled_from(["a*", "c", "*0"]))
def test_each_condition_makes_a_selection_smaller(hosts: list[Host], selector: Selector, pattern: str) -> None:
    wider = selector.model_copy(update={"labels": {}, "names": (), "exclude": ()})
    narrower = selector.model_copy(update={"exclude": (*selector.exclude, pattern)})

    for host in hosts:
        assert matches(wider, host)
        assert matches(selector, host) or not matches(narrower, host)


def test_a_selector_without_hosts_names_itself_and_the_labels_that_exist() -> None:
    with pytest.raises(NotFoundError) as raised:
        select("nightly", Selector(labels={"role": ("cpu", "tpu")}, exclude=("x-*",)), HOSTS)

    assert str(raised.value) == (
        "image set nightly: none of 3 hosts matches role=cpu|tpu; exclude x-*; labels in the fleet: role=edge, "
        "role=gpu, site=berlin, site=paris; hosts: gpu-01, gpu-02, shop-7; correct the selector, or add hosts"
    )


def test_a_large_fleet_is_named_in_part() -> None:
    hosts = [Host(name=f"h-{number}", labels={"n": str(number)}) for number in range(500)]

    with pytest.raises(NotFoundError) as raised:
        select("nightly", Selector(names=("none",)), hosts)

    assert "and 480 more" in str(raised.value)
    assert len(str(raised.value)) < 1000


def test_the_only_set_needs_no_name() -> None:
    assert choose_set(fleet("nightly"), None) == "nightly"
    assert choose_set(fleet("nightly", "edge"), "edge") == "edge"


def test_one_of_several_sets_must_be_named() -> None:
    with pytest.raises(InvalidError, match="2 image sets: name one of edge, nightly"):
        choose_set(fleet("nightly", "edge"), None)


def test_an_unknown_set_names_those_that_exist() -> None:
    with pytest.raises(NotFoundError, match="image set week: the fleet file has none of that name; it has edge, night"):
        choose_set(fleet("nightly", "edge"), "week")
