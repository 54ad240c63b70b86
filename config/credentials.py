"""Where a host keeps the credentials of registries: docker's and podman's places, by the environment.

    DOCKER_AUTH_CONFIG                                  the document itself, as docker's command line takes it
    REGISTRY_AUTH_FILE                                  this file alone, else those below in order
    ${XDG_RUNTIME_DIR}/containers/auth.json             without the variable /run/containers/<uid>/auth.json
    ${XDG_CONFIG_HOME:-~/.config}/containers/auth.json
    ${DOCKER_CONFIG:-~/.docker}/config.json
    ~/.dockercfg                                        in docker's oldest form

The order of the files is that of containers-auth.json(5).
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_TEXT, _ONLY_FILE = "DOCKER_AUTH_CONFIG", "REGISTRY_AUTH_FILE"


@dataclass(frozen=True, slots=True)
class CredentialPlaces:
    """Where to look for credentials.

    Attributes:
        files: in order.
        text: a document that is asked before the files; empty for none.
        required: the variable that names the one file, which then must not be missing; empty for none.
        dockercfg: a file of docker's oldest form, after the others.
        login: the file that a login goes into, unless another one has a place for it: the first that outlives a boot.
    """

    files: tuple[Path, ...]
    text: str = field(default="", repr=False)
    required: str = ""
    dockercfg: Path | None = None
    login: Path | None = None


def credential_places(chosen: Path | None, environment: Mapping[str, str] = os.environ) -> CredentialPlaces:
    """Return where to look: in the ``chosen`` file alone, else where docker and podman do (containers-auth.json(5))."""
    if chosen is not None:
        return CredentialPlaces((chosen,), login=chosen)
    text, only = environment.get(_TEXT, "").strip(), environment.get(_ONLY_FILE)
    if only:
        return CredentialPlaces((Path(only),), text, required=_ONLY_FILE, login=Path(only))
    runtime = environment.get("XDG_RUNTIME_DIR")
    runtime_file = f"{runtime}/containers/auth.json" if runtime else f"/run/containers/{os.getuid()}/auth.json"
    names = (
        runtime_file,
        f"{environment.get('XDG_CONFIG_HOME') or '~/.config'}/containers/auth.json",
        f"{environment.get('DOCKER_CONFIG') or '~/.docker'}/config.json",
    )
    files = tuple(Path(name).expanduser() for name in names)
    return CredentialPlaces(files, text, dockercfg=Path("~/.dockercfg").expanduser(), login=files[1])
