"""Bounds on what a run may name that others start: stores, directories, layouts on disk, registries, credentials.

    Bounds(homes=(Path("/var/lib/prestow"),), registries=("registry.example", "docker.io/library/*")).check_source(…)

A pattern of a registry is a shell pattern: without a slash it is matched against the host, with one against host and
repository. A directory allows itself and all that is below it, symbolic links resolved.
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from prestow.errors import PreconditionError, printable
from prestow.reference import LayoutReference, parse_source


class OutOfBoundsError(PreconditionError):
    """A run that others start names what the host's settings do not allow."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be named.

    Attributes:
        homes: directories of stores.
        directories: where bundles may be made.
        layouts: where images may be read from, with ``oci:PATH`` or as archives.
        fleets: where fleet files may be read from.
        registries: patterns of registries and repositories.
        secrets: patterns of names of credentials, among others.
    """

    homes: tuple[Path, ...] = ()
    directories: tuple[Path, ...] = ()
    layouts: tuple[Path, ...] = ()
    fleets: tuple[Path, ...] = ()
    registries: tuple[str, ...] = ("*",)
    secrets: tuple[str, ...] = ()

    def check_home(self, home: str) -> None:
        """Check the directory of a store.

        Raises:
            OutOfBoundsError: it is not allowed.
        """
        _check_path("store", home, self.homes, "deployed_homes")

    def check_directory(self, directory: str) -> None:
        """Check the directory of a bundle.

        Raises:
            OutOfBoundsError: it is not allowed.
        """
        _check_path("bundle directory", directory, self.directories, "deployed_directories")

    def check_fleet(self, file: str) -> None:
        """Check the path of a fleet file.

        Raises:
            OutOfBoundsError: it is not allowed.
        """
        _check_path("fleet file", file, self.fleets, "deployed_fleets")

    def check_source(self, text: str) -> None:
        """Check where an image is to come from.

        Raises:
            OutOfBoundsError: it is not allowed.
            InvalidError: the reference breaks the grammar.
            UnsupportedError: its digest has an unsupported algorithm.
        """
        source = parse_source(text)
        if isinstance(source, LayoutReference):
            _check_path("layout", str(source.path), self.layouts, "deployed_layouts")
        elif not any(map(source.is_from, self.registries)):
            expected = ", ".join(self.registries) or "none"
            raise OutOfBoundsError(
                f"image {source}: deployed runs on this host may pull only from: {expected}; "
                "choose another image, or add the registry to the host's setting deployed_registries"
            )

    def check_registry(self, domain: str) -> None:
        """Check a registry that is asked whether it takes credentials, and for no image.

        Raises:
            OutOfBoundsError: it is not allowed.
        """
        if not any(fnmatchcase(domain, pattern.partition("/")[0]) for pattern in self.registries):
            expected = ", ".join(self.registries) or "none"
            raise OutOfBoundsError(
                f"registry {printable(domain)}: deployed runs on this host may ask only: {expected}; "
                "choose another one, or add it to the host's setting deployed_registries"
            )

    def check_credentials(self, name: str) -> None:
        """Check the name of credentials: the registry of the run's image gets what it stands for.

        Raises:
            OutOfBoundsError: it is not allowed.
        """
        if not any(fnmatchcase(name, pattern) for pattern in self.secrets):
            raise OutOfBoundsError(
                f"credentials {printable(name)}: deployed runs on this host may not name them; "
                "name others, or add them to the host's setting deployed_secrets"
            )


def _check_path(what: str, text: str, roots: tuple[Path, ...], setting: str) -> None:
    path = Path(text).expanduser().resolve()
    if not any(path.is_relative_to(root.expanduser().resolve()) for root in roots):
        expected = ", ".join(map(str, roots)) or "none"
        raise OutOfBoundsError(
            f"{what} {printable(text)}: deployed runs on this host may use only: {expected}; "
            f"choose one of these, or add the directory to the host's setting {setting}"
        )
