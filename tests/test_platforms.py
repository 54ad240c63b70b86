"""Platforms: grammar, normal form, what a machine runs, and the choice among what is offered."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.errors import InvalidError
from prestow.platforms import Platform, acceptable, choose, host, platform_or_host

ARMV8_32_BIT = "linux/arm/v8 linux/arm/v7 linux/arm/v6 linux/arm/v5"
ARMV8_6 = "".join(f"linux/arm64/v8.{minor} " for minor in range(6, 0, -1)) + "linux/arm64 " + ARMV8_32_BIT

words = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,7}", fullmatch=True)
platforms = st.builds(
    Platform,
    words,
    words,
    st.one_of(st.just(""), words),
    st.one_of(st.just(""), words),
    st.lists(words, max_size=3).map(tuple),
)
machines = st.builds(
    Platform,
    st.sampled_from(["linux", "Linux", "darwin", "macos", "windows"]),
    st.sampled_from(
        ["amd64", "x86_64", "386", "i386", "arm64", "aarch64", "arm", "armhf", "armel", "riscv64", "s390x"]
    ),
    st.sampled_from(["", "v1", "v2", "v3", "v5", "v6", "v7", "v8", "8", "v8.0", "v8.2", "v9", "9.0", "v9.4", "odd"]),
    st.just(""),
    st.just(()),
)


def parse_all(text: str) -> list[Platform | None]:
    return [None if word == "-" else Platform.parse(word) for word in text.split()]


@given(platforms)
def test_formatting_and_parsing_gives_the_same_platform(platform: Platform) -> None:
    assert Platform.parse(str(platform)) == platform


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", Platform("linux", "amd64")),
        ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("windows(10.0.17763)/amd64", Platform("windows", "amd64", os_version="10.0.17763")),
        ("windows(10.0.17763+win32k)/amd64", Platform("windows", "amd64", "", "10.0.17763", ("win32k",))),
        ("linux(+a+b)/arm64/v8", Platform("linux", "arm64", "v8", "", ("a", "b"))),
        ("linux()/arm64", Platform("linux", "arm64")),
    ],
)
def test_a_platform_is_read_as_a_person_writes_it(text: str, expected: Platform) -> None:
    assert Platform.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "/", "linux", "linux/", "/amd64", "linux//v7", "linux/arm/v7/x", "linux/arm/", " linux/amd64",
        "linux/amd64\n", "linux/am d64", "linux/amd64\0", "línux/amd64", "linux(/amd64", "linux(a/b)/amd64",
        "linux(++)/amd64", "l" * 129 + "/amd64", "../../etc",
    ],
)  # fmt: skip
def test_a_platform_that_breaks_the_grammar_is_invalid(text: str) -> None:
    with pytest.raises(InvalidError, match=r"os/architecture\[/variant\]") as raised:
        Platform.parse(text)

    assert str(raised.value).isprintable()


@pytest.mark.parametrize("words", [("", "amd64"), ("linux", ""), ("li/nux", "amd64"), ("linux", "arm", "v\n7")])
def test_a_platform_cannot_be_made_of_other_words(words: tuple[str, ...]) -> None:
    with pytest.raises(InvalidError):
        Platform(*words)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/x86_64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64"),
        ("LINUX/AMD64/V1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64"),
        ("linux/arm64/v8.2", "linux/arm64/v8.2"),
        ("linux/arm64/9", "linux/arm64/v9"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armhf", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/armv8l", "linux/arm/v8"),
        ("macos/aarch64", "darwin/arm64"),
        ("macOS/arm64", "darwin/arm64"),
        ("windows(10.0.1)/amd64", "windows(10.0.1)/amd64"),
        ("linux/riscv64", "linux/riscv64"),
    ],
)
def test_each_platform_has_one_normal_form(text: str, expected: str) -> None:
    assert str(Platform.parse(text).normalised()) == expected


@given(machines)
def test_normalising_twice_changes_nothing(machine: Platform) -> None:
    assert machine.normalised().normalised() == machine.normalised()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("linux/amd64", "linux/amd64 linux/386"),
        ("linux/amd64/v3", "linux/amd64/v3 linux/amd64/v2 linux/amd64 linux/386"),
        ("linux/386", "linux/386"),
        ("linux/arm", "linux/arm/v7 linux/arm/v6 linux/arm/v5"),
        ("linux/arm/v5", "linux/arm/v5"),
        ("linux/arm64", "linux/arm64 " + ARMV8_32_BIT),
        ("linux/arm64/v8.6", ARMV8_6),
        ("linux/arm64/v9.1", f"linux/arm64/v9.1 linux/arm64/v9 {ARMV8_6}"),
        ("linux/ppc64le", "linux/ppc64le"),
        ("linux/amd64/odd", "linux/amd64/odd linux/amd64 linux/386"),
    ],
)
def test_a_machine_runs_its_own_images_first_and_then_its_ancestors(text: str, expected: str) -> None:
    assert [str(p) for p in acceptable(Platform.parse(text))] == expected.split()


def test_armv9_stops_at_the_newest_armv8() -> None:
    assert str(acceptable(Platform.parse("linux/arm64/v9.7"))[8]) == "linux/arm64/v8.9"


@given(machines)
def test_what_is_acceptable_is_normal_unique_and_begins_with_the_machine_itself(machine: Platform) -> None:
    found = acceptable(machine)

    assert found[0] == machine.normalised()
    assert len(set(found)) == len(found)
    assert all(p == p.normalised() for p in found)


@given(machines, machines)
def test_an_image_for_an_acceptable_machine_is_acceptable_too(machine: Platform, other: Platform) -> None:
    mine = acceptable(machine)
    if other.normalised() in mine:
        assert set(acceptable(other)) <= set(mine)


@pytest.mark.parametrize(
    ("wanted", "offered", "chosen"),
    [
        ("linux/amd64", "linux/arm64 linux/amd64", 1),
        ("linux/amd64", "linux/386 linux/x86_64", 1),
        ("linux/amd64", "linux/386 linux/arm64", 0),
        ("linux/amd64", "linux/amd64/v2 linux/amd64/v3", None),
        ("linux/amd64/v3", "linux/amd64 linux/amd64/v4 linux/amd64/v2", 2),
        ("linux/arm64", "linux/arm/v7 linux/arm64/v8", 1),
        ("linux/arm64", "linux/arm/v5 linux/arm/v8", 1),
        ("linux/arm/v6", "linux/arm linux/arm/v5", 1),
        ("linux/amd64", "linux/amd64 linux/amd64", 0),
        ("linux/amd64", "- linux/amd64", 1),
        ("linux/amd64", "- linux/386", 1),
        ("linux/amd64", "- -", 0),
        ("linux/amd64", "linux/arm64 -", 1),
        ("linux/amd64", "unknown/unknown linux/unknown", None),
        ("unknown/unknown", "unknown/unknown", None),
        ("linux/amd64", "windows/amd64 freebsd/amd64", None),
        ("linux/amd64", "", None),
        ("linux/amd64", "linux(+needed)/amd64", None),
        ("linux(+needed+more)/amd64", "linux(+needed)/amd64", 0),
        ("linux/amd64", "linux(5.10)/amd64", 0),
        ("windows(10.0.17763.1)/amd64", "windows(10.0.20348.1)/amd64 windows(10.0.17763.9)/amd64", 1),
        ("windows/amd64", "windows(10.0.20348.1)/amd64", 0),
    ],
)
def test_the_best_of_the_offered_platforms_is_chosen(wanted: str, offered: str, chosen: int | None) -> None:
    assert choose(Platform.parse(wanted), parse_all(offered)) == chosen


@given(machines, st.lists(st.one_of(st.none(), machines), max_size=6))
def test_a_choice_is_acceptable_and_nothing_before_it_in_rank_was_left(
    wanted: Platform, offered: list[Platform | None]
) -> None:
    order = acceptable(wanted)
    chosen = choose(wanted, offered)

    ranks = [
        len(order) if p is None else order.index(p.normalised())
        for p in offered
        if p is None or p.normalised() in order
    ]
    if chosen is None:
        assert not ranks
    else:
        best = offered[chosen]
        assert min(ranks) == (len(order) if best is None else order.index(best.normalised()))


def test_the_host_is_this_machine_in_normal_form() -> None:
    machine = os.uname()

    assert host() == Platform(machine.sysname, machine.machine).normalised()
    assert host().os == "linux"


@pytest.mark.parametrize(
    "text",
    ["linux/x86_64", "Linux/ARM64", "macOS/aarch64", "linux/arm/v7", "linux/arm64/v9.2", "wasi/wasm", "linux/mips64le"],
)
def test_a_platform_that_is_asked_for_is_taken_as_it_is_written(text: str) -> None:
    assert str(platform_or_host(text)) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("linux/amd65", "unknown architecture 'amd65'; did you mean amd64?"),
        ("linus/amd64", "unknown operating system 'linus'; did you mean linux?"),
        ("amd64/linux", "unknown operating system 'amd64'; expected os/architecture[/variant]"),
        ("linux/arm/v9", "unknown variant 'v9' of arm; leave it out"),
        ("linux/amd64/v64", "unknown variant 'v64' of amd64"),
    ],
)
def test_a_platform_of_unknown_words_is_refused_where_it_is_asked_for(text: str, said: str) -> None:
    with pytest.raises(InvalidError, match=re.escape(f"platform {text!r}: {said}")):
        platform_or_host(text)
