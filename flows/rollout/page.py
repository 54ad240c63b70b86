"""The page of an image set at the Prefect API, artifact ``prestow-fleet-<set>``: one version a run, which changes.

>>> page = SetPage(client, "nightly", run)  # doctest: +SKIP
>>> page.publish(lambda: fleet_page(status, progress))  # doctest: +SKIP
True
"""

import time
from collections.abc import Callable
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)

SECONDS = 30.0
"""Between two writings, unless one is urgent: each is an event besides, which has the whole page."""


class SetPage:
    """The page of a set, for one run."""

    def __init__(
        self, client: SyncPrefectClient, image_set: str, run: UUID, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Publish for the run with this ID."""
        self._client, self._key, self._run, self._clock = client, f"prestow-fleet-{image_set}", run, clock
        self._artifact: UUID | None = None
        self._next = float("-inf")

    def publish(self, text: Callable[[], str], *, urgent: bool = False) -> bool:
        """Write the page if the last writing was long enough ago, or if it is urgent; return whether it was written.

        An API that does not answer leaves the page as it was: the next writing comes.
        """
        now = self._clock()
        if now < self._next and not urgent:
            return False
        self._next = now + SECONDS
        try:
            self._write(text())
        except HTTPError:
            self._artifact = None  # a person may have deleted it
            return False
        return True

    def _write(self, text: str) -> None:
        artifact = self._artifact or self._found()
        if artifact is None:
            made = ArtifactCreate(key=self._key, type="markdown", data=text, flow_run_id=self._run)
            self._artifact = self._client.create_artifact(made).id
        else:
            self._artifact = artifact
            self._client.update_artifact(artifact, ArtifactUpdate(data=text))

    def _found(self) -> UUID | None:
        """Return the artifact that an earlier process of this run made."""
        wanted = ArtifactFilter(
            key=ArtifactFilterKey(any_=[self._key]), flow_run_id=ArtifactFilterFlowRunId(any_=[self._run])
        )
        return next((each.id for each in self._client.read_artifacts(artifact_filter=wanted, limit=1)), None)
