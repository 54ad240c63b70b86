"""The list of tags: pages, bounds, mirrors and credentials, and what a hostile registry may answer."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from prestow.errors import (
    ExhaustedError,
    InvalidError,
    NotFoundError,
    PrestowError,
    UnauthorizedError,
    UnavailableError,
)
from prestow.oci.document import MAX_DOCUMENT
from prestow.reference import Reference
from prestow.registry import tags as module
from prestow.registry.credentials import Credential, Credentials
from prestow.registry.health import Health
from prestow.registry.hosts import Options
from prestow.registry.source import Sources
from tests.hosts_files import mirrored
from tests.registries import PASSWORD, USER, Access, DockerRegistry, Fault, FaultRegistry

LIST = "/tags/list"


def page(*tags: str, link: str | None = None) -> Fault:
    """Return an answer with some of the tags."""
    body = json.dumps({"name": "team/app", "tags": list(tags)}).encode()
    return Fault(status=200, body=body, headers={"Link": link} if link else {})


def list_tags(registry: FaultRegistry, options: Options | None = None, health: Health | None = None) -> list[str]:
    with Sources(options or Options(), health=health) as sources:
        return list(sources.tags(Reference.parse(f"{registry.domain}/team/app")))


def test_the_real_registry_lists_all_tags(docker_registry: DockerRegistry, demo_layout: Path) -> None:
    for tag in ("1.8.4", "1.8.10", "latest"):
        docker_registry.push(demo_layout, "demo", f"tags/listed:{tag}")

    with Sources(Options()) as sources:
        assert set(sources.tags(Reference.parse(f"{docker_registry.domain}/tags/listed"))) == {
            "1.8.4", "1.8.10", "latest"
        }  # fmt: skip
        with pytest.raises(NotFoundError, match=r"tags/absent.*404"):
            sources.tags(Reference.parse(f"{docker_registry.domain}/tags/absent"))


def test_the_pages_of_the_real_registry_are_followed(
    docker_registry: DockerRegistry, demo_layout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pushed = {f"1.{minor}" for minor in range(5)}
    for tag in pushed:
        docker_registry.push(demo_layout, "demo", f"tags/paged:{tag}")
    monkeypatch.setattr(module, "_FIRST", "n=2")

    with Sources(Options()) as sources:
        assert set(sources.tags(Reference.parse(f"{docker_registry.domain}/tags/paged"))) == pushed


@pytest.mark.parametrize(
    "link",
    [
        '</v2/team/app/tags/list?n=2&last=b>; rel="next"',
        "<http://elsewhere.example/v2/other/tags/list?n=2&last=b>; rel=next",
        '<?n=2&last=b>;title="x"; REL="prev next"',
        '</first>; rel="first", </v2/team/app/tags/list?n=2&last=b#part>; rel="next"',
    ],
)
def test_of_a_link_the_query_counts_alone(fault_registry: FaultRegistry, link: str) -> None:
    fault_registry.on(r"last=b", page("c"))
    fault_registry.on(LIST, page("a", "b", link=link))

    assert list_tags(fault_registry) == ["a", "b", "c"]
    assert [seen.path for seen in fault_registry.seen] == [
        "/v2/team/app/tags/list?n=1000", "/v2/team/app/tags/list?n=2&last=b"
    ]  # fmt: skip


def test_no_tags_are_an_empty_list(fault_registry: FaultRegistry) -> None:
    fault_registry.on(LIST, Fault(status=200, body=b'{"name": "team/app", "tags": null}'))

    assert list_tags(fault_registry) == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault(status=404), NotFoundError),
        (Fault(status=403), UnauthorizedError),
        (Fault(status=503), UnavailableError),
        (Fault(status=405), InvalidError),
        (Fault(status=200, body=b"<html>"), InvalidError),
        (Fault(status=200, body=b'["1.0"]'), InvalidError),
        (Fault(status=200, body=b'{"tags": "1.0"}'), InvalidError),
        (Fault(status=200, body=b'{"tags": [1]}'), InvalidError),
        (Fault(status=200, body=b'{"tags": ["../../etc"]}'), InvalidError),
        (Fault(status=200, body=b'{"tags": ["a\\u001b[2J"]}'), InvalidError),
        (Fault(status=200, body=b" " * (MAX_DOCUMENT + 1)), ExhaustedError),
        (Fault(status=200, body=b'{"tags": ["a"]}', drop_after=5), UnavailableError),
        (page("a", link="<next>; rel=next"), InvalidError),
        (page("a", link="<?x y>; rel=next"), InvalidError),
        (page("a", link="<?n=1000>; rel=next"), InvalidError),
        (page("a", link=f"<?{'x' * 5000}>; rel=next"), InvalidError),
    ],
    ids=repr,
)
def test_another_answer_is_an_error_of_ours(
    fault_registry: FaultRegistry, fault: Fault, error: type[PrestowError]
) -> None:
    fault_registry.on(LIST, fault)

    with pytest.raises(error) as raised:
        list_tags(fault_registry)

    assert type(raised.value) is error
    assert str(raised.value).isprintable()


def test_pages_that_go_round_in_circles_end(fault_registry: FaultRegistry) -> None:
    fault_registry.on("last=a", page("b", link="<?last=b>; rel=next"))
    fault_registry.on("last=b", page("a", link="<?last=a>; rel=next"))
    fault_registry.on(LIST, page("a", link="<?last=a>; rel=next"))

    with pytest.raises(InvalidError, match="read already"):
        list_tags(fault_registry)


def test_the_number_of_tags_and_pages_is_bounded(
    fault_registry: FaultRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault_registry.on("last=1", page("c", link="<?last=2>; rel=next"))
    fault_registry.on(LIST, page("a", "b", link="<?last=1>; rel=next"))

    for bound in ("MOST_TAGS", "MOST_PAGES"):
        with monkeypatch.context() as patch:
            patch.setattr(module, bound, 2)
            with pytest.raises(ExhaustedError, match=r"more than .* name the tag"):
                list_tags(fault_registry)


def test_a_challenge_is_answered_with_a_token_for_the_repository(fault_registry: FaultRegistry) -> None:
    fault_registry.access = Access("http://{host}/token")

    with pytest.raises(NotFoundError):  # it has no list: the rules of this file stand before its access
        list_tags(fault_registry)

    assert fault_registry.requests("/token")[0].query["scope"] == "repository:team/app:pull"
    assert fault_registry.requests(LIST)[-1].headers["Authorization"].startswith("Bearer ")


def test_a_login_is_used(fault_registry: FaultRegistry) -> None:
    fault_registry.access = Access(None)
    login = Credentials(lambda *_: Credential(USER, PASSWORD))

    with Sources(Options(), credentials=login) as sources, pytest.raises(NotFoundError):
        sources.tags(Reference.parse(f"{fault_registry.domain}/team/app"))

    assert fault_registry.seen[-1].headers["Authorization"].startswith("Basic ")


def test_a_registry_that_wants_a_login_says_so(fault_registry: FaultRegistry) -> None:
    fault_registry.access = Access(None)

    with pytest.raises(UnauthorizedError, match="wants a user name and a password; log in"):
        list_tags(fault_registry)


@pytest.fixture
def mirror(fault_registry: FaultRegistry) -> Iterator[FaultRegistry]:
    with ExitStack() as stack:
        yield stack.enter_context(FaultRegistry(fault_registry.layout))


@pytest.mark.parametrize("fault", [Fault(status=404), page(), Fault(status=503), Fault(status=401)], ids=repr)
def test_the_registry_is_asked_after_a_mirror_without_tags(
    fault_registry: FaultRegistry, mirror: FaultRegistry, tmp_path: Path, fault: Fault
) -> None:
    mirror.on(LIST, fault)
    fault_registry.on(LIST, page("1.0"))
    health = Health(tmp_path / "registries")

    found = list_tags(fault_registry, mirrored(tmp_path / "hosts", fault_registry.domain, mirror.domain), health)

    assert found == ["1.0"]
    assert mirror.requests(LIST)[0].query["ns"] == fault_registry.domain
    assert bool(health.every()) == (fault.status == 503)  # set aside only where it failed


def test_a_mirror_that_lists_tags_counts_as_it_does_for_what_they_point_to(
    fault_registry: FaultRegistry, mirror: FaultRegistry, tmp_path: Path
) -> None:
    mirror.on("last=", page("1.1"))
    mirror.on(LIST, page("1.0", link="<?last=1.0>; rel=next"))

    found = list_tags(fault_registry, mirrored(tmp_path / "hosts", fault_registry.domain, mirror.domain))

    assert found == ["1.0", "1.1"]
    assert [seen.query["ns"] for seen in mirror.seen] == [fault_registry.domain] * 2
    assert fault_registry.seen == []


def test_a_registry_that_asks_for_a_wait_says_how_long(fault_registry: FaultRegistry) -> None:
    fault_registry.on(LIST, Fault(status=429, headers={"Retry-After": "7"}))

    with pytest.raises(UnavailableError) as raised:
        list_tags(fault_registry)

    assert raised.value.retry_after is not None
