"""The generations that were applied, as artifacts at a real Prefect server."""

from uuid import uuid4

import pytest
from prefect import get_client
from prefect.client.schemas.actions import ArtifactCreate

from flows.local_server.ensure import Server
from flows.rollout import generations
from prestow.errors import InvalidError, NotFoundError, PreconditionError
from tests.fleet_files import locked_set

_IMAGES = ["registry.example/team/app:1", "registry.example/team/tool:2"]


@pytest.fixture
def name(prefect_server: Server) -> str:
    """The name of a set of the test's own."""
    return f"set-{uuid4().hex[:8]}"


def test_what_was_published_is_read_back_by_its_number(name: str) -> None:
    first, second = locked_set(_IMAGES, 1, "1"), locked_set(_IMAGES, 2, "2")
    with get_client(sync_client=True) as client:
        for each in (first, second, second):
            generations.publish(client, name, each)

        assert generations.read(client, name, 1) == first
        assert generations.read(client, name, 2) == second
        assert generations.numbers(client, name) == [2, 1]


def test_a_number_stands_for_the_same_images_for_ever(name: str) -> None:
    with get_client(sync_client=True) as client:
        generations.publish(client, name, locked_set(_IMAGES, 7, "1"))

        with pytest.raises(PreconditionError, match=r"generation 7 of .* was applied before with other images"):
            generations.publish(client, name, locked_set(_IMAGES, 7, "2"))


def test_a_generation_that_never_was_is_told_with_those_that_were(name: str) -> None:
    with get_client(sync_client=True) as client:
        generations.publish(client, name, locked_set(_IMAGES, 3))

        with pytest.raises(NotFoundError, match=r"generation 4 of .* was never applied; those that were: 3$"):
            generations.read(client, name, 4)


def test_a_set_whose_name_begins_like_another_has_its_own_generations(name: str) -> None:
    with get_client(sync_client=True) as client:
        generations.publish(client, f"{name}-edge", locked_set(_IMAGES, 3))

        assert generations.numbers(client, name) == []


def test_a_page_that_was_changed_by_hand_is_no_lock(name: str) -> None:
    with get_client(sync_client=True) as client:
        client.create_artifact(ArtifactCreate(key=f"prestow-lock-{name}-5", type="markdown", data="# mine\n"))

        with pytest.raises(InvalidError, match="is no lock"):
            generations.read(client, name, 5)
