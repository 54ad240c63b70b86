"""Asks registries for a lock: where references point, and the manifests behind them; documents only, and no layer."""

import time
from collections.abc import Callable
from typing import TypeVar

from prestow.errors import PrestowError, printable
from prestow.fleet.lock import LockedLayer, LockedPlatform
from prestow.fleet.resolution import Target
from prestow.fleet.versions import TagPattern
from prestow.oci.descriptor import Descriptor
from prestow.platforms import Platform
from prestow.reference import Reference
from prestow.registry.fetch import fetch_manifest
from prestow.registry.resolve import resolve
from prestow.store.node import Node
from tasks.delays import USUAL

_T = TypeVar("_T")


class Registries:
    """Implements ``prestow.fleet.resolution.Registry`` with the settings, logins and documents of a store.

    Args:
        node: the store.
        report: gets a line of progress for a person.
    """

    def __init__(self, node: Node, report: Callable[[str], None]) -> None:
        """Ask nothing yet."""
        self._node = node
        self._report = report
        self._descriptors: dict[str, Descriptor] = {}

    def target(self, reference: str) -> Target:
        """Return where a reference points now; of a pattern, where the newest tag that matches does.

        Raises:
            NotFoundError: there is no such image, or no tag matches.
            PrestowError: the registry's failure, after as many attempts as a step makes.
        """
        name, _, tag = reference.rpartition(":")
        if "*" in tag:
            repository = Reference.parse(name)
            tags = self._persistently(reference, lambda: self._node.sources.tags(repository))
            found = Reference.parse(f"{repository.name}:{TagPattern.parse(tag).newest(tags, repository.name)}")
        else:
            found = Reference.parse(reference)
        shown = Reference(found.domain, found.path, found.tag) if found.tag else found
        digest = str(self._resolved(found).digest)
        self._report(f"{reference}: {f'{shown} is ' if '*' in tag else ''}{digest}")
        return Target(str(shown), digest)

    def platform(self, target: Target, platform: str) -> LockedPlatform:
        """Return the manifest and layers of a target for a platform.

        Raises:
            NotFoundError: the image is not for that platform.
            PrestowError: the registry's failure, or the image is none that can be unpacked.
        """
        pinned = Reference.parse(f"{Reference.parse(target.name).name}@{target.digest}")
        descriptor = self._descriptors.get(str(pinned)) or self._resolved(pinned)
        source, most = self._node.sources.open(pinned), self._node.settings.max_layers
        image = self._persistently(
            target.name,
            lambda: fetch_manifest(source, self._node.content, descriptor, Platform.parse(platform), max_layers=most),
        )
        layers = tuple(
            LockedLayer(digest=str(each.descriptor.digest), size=each.descriptor.size, diff_id=str(each.diff_id))
            for each in image.layers
        )
        return LockedPlatform(digest=str(image.manifest.digest), layers=layers)

    def _resolved(self, reference: Reference) -> Descriptor:
        source = self._node.sources.open(reference)
        found = self._persistently(str(reference), lambda: resolve(source, self._node.content, reference))
        self._descriptors[f"{reference.name}@{found.digest}"] = found
        return found

    def _persistently(self, what: str, ask: Callable[[], _T]) -> _T:
        """Ask again after failures that pass, as steps do."""
        attempt = 1
        while True:
            try:
                return ask()
            except PrestowError as error:
                wait = USUAL.delay(attempt, error)
                if wait is None:
                    raise
                self._report(f"{what}: asks again in {wait:.0f} s: {printable(str(error))}")
            time.sleep(wait)
            attempt += 1
