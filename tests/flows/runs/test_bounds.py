"""What a deployed run may name: directories with all below them, whatever links say, and registries by pattern."""

from pathlib import Path

import pytest

from flows.runs.bounds import Bounds, OutOfBoundsError


@pytest.mark.parametrize("inside", ["", "below", "below/deeper", "x/../below", "./below"])
def test_a_directory_allows_itself_and_what_is_below_it(tmp_path: Path, inside: str) -> None:
    Bounds(homes=(tmp_path / "root",)).check_home(f"{tmp_path}/root/{inside}")


@pytest.mark.parametrize("outside", ["rootless", "root/../other", "root/link", "root/link/x", "", "/", "/etc"])
def test_nothing_else_is_allowed(tmp_path: Path, outside: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to("/etc")
    allowed = Bounds(homes=(tmp_path / "root",), directories=(tmp_path / "root",), layouts=(tmp_path / "root",))
    path = str(tmp_path / outside)

    with pytest.raises(OutOfBoundsError, match="setting deployed_homes"):
        allowed.check_home(path)
    with pytest.raises(OutOfBoundsError, match="setting deployed_directories"):
        allowed.check_directory(path)
    with pytest.raises(OutOfBoundsError, match="setting deployed_layouts"):
        allowed.check_source(f"oci:{path}:app")
    with pytest.raises(OutOfBoundsError, match="setting deployed_layouts"):
        allowed.check_source(f"docker-archive:{path}:app")


@pytest.mark.parametrize(
    ("patterns", "name", "allowed"),
    [
        ((), "block:a", False),
        (("env:*", "file:*"), "block:a", False),
        (("block:a",), "block:a", True),
        (("block:a",), "block:ab", False),
        (("block:team-*",), "block:team-a", True),
        (("block:*",), "block:a", True),
    ],
)
def test_credentials_are_allowed_by_a_pattern_and_none_by_default(
    patterns: tuple[str, ...], name: str, *, allowed: bool
) -> None:
    bounds = Bounds(secrets=patterns)
    if allowed:
        bounds.check_credentials(name)
        return
    with pytest.raises(OutOfBoundsError, match=f"{name}.*setting deployed_secrets"):
        bounds.check_credentials(name)


@pytest.mark.parametrize(
    ("pattern", "image", "allowed"),
    [
        ("*", "ubuntu", True),
        ("docker.io", "ubuntu", True),
        ("docker.io/library/*", "ubuntu:24.04", True),
        ("docker.io/library/*", "docker.io/team/app", False),
        ("docker.io", "evil.example/docker.io/app", False),
        ("registry.example", "registry.example.evil.example/app", False),
        ("registry.example", "registry.example:5000/app", False),
        ("registry.example:*", "registry.example:5000/app", True),
        ("*.example", "a.example/app", True),
        ("*.example", "a.example.org/app", False),
        ("registry.example/team/*", "registry.example/teams/app", False),
    ],
)
def test_a_registry_is_allowed_by_a_pattern(pattern: str, image: str, *, allowed: bool) -> None:
    bounds = Bounds(registries=(pattern,))
    if allowed:
        bounds.check_source(image)
        return
    with pytest.raises(OutOfBoundsError, match="setting deployed_registries"):
        bounds.check_source(image)
