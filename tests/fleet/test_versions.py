"""Which tag a tag with ``*`` means: the newest version that matches, whatever the order of the list."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semver import Version

from prestow.errors import InvalidError, NotFoundError
from prestow.fleet.versions import TagPattern

TAGS = [
    "latest", "1", "1.8", "1.8.4", "1.8.10", "1.9.0", "1.9", "v1.2", "v1.10", "1.8.11-rc.1", "1.8.11-rc.2",
    "1.8.4-alpine", "1.8.5-alpine", "1.8.5-alpine3.9", "1.8.5-alpine3.20", "2024.01.05", "3.4.5.6", "release-2.0.1",
    "9.9.9_x", "sha-1",
]  # fmt: skip
NUMBERS = st.integers(0, 30)
VERSIONS = st.builds(lambda a, b, c: f"{a}.{b}.{c}", NUMBERS, NUMBERS, NUMBERS)
PRE_RELEASES = st.builds(lambda version, n: f"{version}-rc.{n}", VERSIONS, NUMBERS)


def newest(pattern: str, tags: list[str]) -> str:
    return TagPattern.parse(pattern).newest(tags, "example/app")


@pytest.mark.parametrize(
    ("pattern", "tag"),
    [
        ("1.8.*", "1.8.10"),
        ("1.*", "1.9.0"),
        ("v1.*", "v1.10"),
        ("*", "1.9.0"),
        ("*.*", "1.9.0"),
        ("1.*.4", "1.8.4"),
        ("1.8.*-alpine", "1.8.5-alpine"),
        ("1.8.*-alpine*", "1.8.5-alpine3.20"),
        ("1.8.*-rc.*", "1.8.11-rc.2"),
        ("1.8.11-*", "1.8.11-rc.2"),
        ("release-2.*", "release-2.0.1"),
    ],
)
def test_the_newest_version_is_taken(pattern: str, tag: str) -> None:
    assert newest(pattern, TAGS) == tag


@pytest.mark.parametrize("pattern", ["1.8*", "**", "1.*x", "1.2.3.*", "*-", "1..*", "", "a", "1.8.*_x", "-*", "1.*\n"])
def test_a_star_stands_for_whole_parts_of_a_version(pattern: str) -> None:
    with pytest.raises(InvalidError, match="expected a version with"):
        TagPattern.parse(pattern)


def test_what_exists_is_named_where_nothing_matches() -> None:
    with pytest.raises(NotFoundError) as raised:
        newest("2.*", TAGS)

    text = str(raised.value)
    assert text.startswith("no tag of example/app matches 2.*; it has v1.10, 1.9.0, 1.9, 1.8.11-rc.2, ")
    assert text.endswith(f" and {len(TAGS) - 10} more; correct the tag in the fleet file")


def test_a_repository_without_tags_is_said() -> None:
    with pytest.raises(NotFoundError, match="it has no tags; correct"):
        newest("2.*", [])


@given(st.lists(VERSIONS | PRE_RELEASES, min_size=1, max_size=20))
def test_it_is_the_greatest_release_in_semver_s_order(tags: list[str]) -> None:
    releases = [tag for tag in tags if "-" not in tag]
    if not releases:
        with pytest.raises(NotFoundError):
            newest("*", tags)
        return

    assert newest("*", tags) == max(releases, key=Version.parse)


@given(st.lists(VERSIONS | PRE_RELEASES, min_size=1, max_size=20))
def test_pre_releases_take_part_only_if_the_pattern_names_them(tags: list[str]) -> None:
    pre = [tag for tag in tags if "-" in tag]
    if not pre:
        with pytest.raises(NotFoundError):
            newest("*-rc.*", tags)
        return

    assert newest("*-rc.*", tags) == max(pre, key=Version.parse)


@given(
    st.lists(st.sampled_from(TAGS), min_size=1, max_size=4, unique=True), st.sampled_from(["*", "1.*", "1.8.*-rc.*"])
)
def test_the_order_of_the_list_does_not_count(tags: list[str], pattern: str) -> None:
    answers = set()
    for each in permutations(tags):
        try:
            answers.add(newest(pattern, list(each)))
        except NotFoundError:
            answers.add("none")

    assert len(answers) == 1


@given(st.lists(VERSIONS, min_size=1, max_size=10), VERSIONS)
def test_one_more_tag_never_makes_it_older(tags: list[str], more: str) -> None:
    assert Version.parse(newest("*", [*tags, more])) >= Version.parse(newest("*", tags))


@given(NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["", "v"]))
def test_a_version_matches_what_is_left_of_it_when_parts_are_starred(a: int, b: int, c: int, prefix: str) -> None:
    tag = f"{prefix}{a}.{b}.{c}"

    for pattern in (f"{a}.{b}.*", f"{a}.*", "*", f"{a}.*.{c}", f"*.{b}.{c}"):
        assert newest(prefix + pattern, [tag]) == tag
    with pytest.raises(NotFoundError):
        newest(f"{prefix}{a}.{b + 1}.*", [tag])


@given(st.text(max_size=30))
def test_any_tag_is_a_version_or_is_passed_over(tag: str) -> None:
    assert newest("1.*", [tag, "1.0.0"]) in (tag, "1.0.0")
