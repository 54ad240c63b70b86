"""The generations of an image set that were applied, each an artifact at the API: a rollback finds them anywhere.

Key ``prestow-lock-<set>-<generation>``: a page of the images, and at its end the same as JSON.
"""

import json
import re

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.sorting import ArtifactSort
from pydantic import ValidationError

from flows.forms.markdown import code, size
from prestow.errors import InvalidError, NotFoundError, PreconditionError
from prestow.fleet.lock import LockedSet

_JSON = re.compile(r"^```json\n(.*)\n```\n?\Z", re.DOTALL | re.MULTILINE)
_NAMED = 20


def publish(client: SyncPrefectClient, image_set: str, locked: LockedSet) -> None:
    """Publish a generation that is about to be applied; one that is there stays.

    Raises:
        PreconditionError: that number was applied with other images.
    """
    try:
        there = read(client, image_set, locked.generation)
    except NotFoundError:
        page = ArtifactCreate(key=_key(image_set, locked.generation), type="markdown", data=_page(image_set, locked))
        client.create_artifact(page)
        return
    if there != locked:
        raise PreconditionError(
            f"generation {locked.generation} of {image_set} was applied before with other images; two lock files have "
            f"gone separate ways: run `prestow fleet lock --update` on the newest one until its generation is higher"
        )


def read(client: SyncPrefectClient, image_set: str, generation: int) -> LockedSet:
    """Return a generation that was applied.

    Raises:
        NotFoundError: it never was.
        InvalidError: what is published under its key is no lock.
    """
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[_key(image_set, generation)]))
    found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC, limit=1)
    if not found:
        known = ", ".join(map(str, numbers(client, image_set)[:_NAMED])) or "none"
        raise NotFoundError(f"generation {generation} of {image_set} was never applied; those that were: {known}")
    text = _JSON.search(str(found[0].data))
    try:
        return LockedSet.model_validate_json(text[1] if text else "")
    except ValidationError as error:
        raise InvalidError(f"artifact {_key(image_set, generation)} is no lock: it was changed by hand") from error


def numbers(client: SyncPrefectClient, image_set: str) -> list[int]:
    """Return the generations that were applied, newest first."""
    prefix = _key(image_set, "")
    wanted = ArtifactFilter(key=ArtifactFilterKey(like_=f"{prefix}%"))
    found = client.read_artifacts(artifact_filter=wanted, sort=ArtifactSort.CREATED_DESC)
    ends = {str(each.key).removeprefix(prefix) for each in found}
    return sorted((int(end) for end in ends if end.isdecimal()), reverse=True)


def _key(image_set: str, generation: int | str) -> str:
    return f"prestow-lock-{image_set}-{generation}"


def _page(image_set: str, locked: LockedSet) -> str:
    lines = [f"# {image_set} · generation {locked.generation}", "", "| image | digest | platforms | layers |"]
    lines.append("|---|---|---|---|")
    for image in locked.images:
        sizes = ", ".join(size(platform.size) for platform in image.platforms.values())
        lines.append(f"| {code(image.name)} | {code(image.digest[:19])} | {', '.join(image.platforms)} | {sizes} |")
    return "\n".join([*lines, "", "```json", json.dumps(locked.model_dump(mode="json"), indent=1), "```", ""])
