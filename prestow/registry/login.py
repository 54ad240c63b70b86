"""Logging in at a registry and out again: who we are is checked there, and kept where ``credentials`` finds it.

The place is the first document, in the order in which they are read, that has one for this registry: a helper, or an
entry. Else it is the file ``CredentialFiles.login``. A file is replaced in one step, is for its owner only, and keeps
all that is in it for other registries.
"""

import base64
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

from prestow.content.descriptors import KNOWN_DIRECTORY, opened
from prestow.content.disk import remove_abandoned, sync_folder, translated
from prestow.content.process_identity import owned_name
from prestow.errors import InvalidError, NotFoundError, PrestowError, UnauthorizedError
from prestow.oci.document import Record, load
from prestow.registry.client import Client
from prestow.registry.credentials import FIELDS, Credential, CredentialFiles, Credentials, keys_of, server_name
from prestow.registry.endpoints import every_endpoint
from prestow.registry.failure import LOG_IN, failure
from prestow.registry.helper import ask_helper, erase_at_helper, store_at_helper
from prestow.registry.hosts import Options
from prestow.registry.http import Request, Response


def check_login(options: Options, domain: str, credential: Credential) -> bool:
    """Ask a registry whether it takes a credential; False if it asked for none, so that this is not known.

    Raises:
        UnauthorizedError: it does not, or its token service may not have it.
        UnavailableError: it does not answer.
        InvalidError: an answer breaks a rule.
    """
    endpoint = replace([*every_endpoint(domain, options)][-1], credentials="")
    request = Request("GET", endpoint.base.at(f"{endpoint.base.target}/"))
    client = Client(options, credentials=Credentials(lambda _name, _repository: credential))
    try:
        with client.send(endpoint, request, repository="") as response:
            if response.status != HTTPStatus.OK or response.advice:
                raise _refusal(response, domain)
            return bool(response.secret)
    except UnauthorizedError as error:
        raise UnauthorizedError(f"login at {str(error).replace(LOG_IN, 'check user name and password')}") from error
    finally:
        client.close()


def _refusal(response: Response, domain: str) -> PrestowError:
    """Return why a login failed; an anonymous answer is none to us."""
    if response.status == HTTPStatus.OK:
        return UnauthorizedError(f"{domain}: {response.advice}")
    return failure(response, domain)


def store_login(files: CredentialFiles, domain: str, credential: Credential) -> str:
    """Keep a credential for a registry, and return where: the path of a file, or ``helper NAME``.

    Raises:
        InvalidError: a document breaks its grammar.
        NotFoundError: a helper is not installed; no file may have a login.
        StorageError: a file cannot be read or written.
        ExhaustedError: the disk is full.
        UnavailableError: a helper failed.
    """
    server = server_name(domain)
    for file in files.files:
        fields = _document(files, file)
        if helper := _helper(fields, file, domain):
            store_at_helper(helper, server, credential.username, credential.secret, timeout=files.helper_timeout)
            return f"helper {helper}"
        if keys_of(_auths(fields), domain, ""):
            break
    else:
        if files.login is None:
            raise NotFoundError("login: there is no file for it; set docker_config")
        file = files.login
    encoded = base64.b64encode(f"{credential.username}:{credential.secret}".encode()).decode()
    with _changed(files, file) as fields:
        kept = _without(_auths(fields), domain)
        fields["auths"] = {**kept, server: {"auth": encoded}}
    return str(file)


def erase_login(files: CredentialFiles, domain: str) -> tuple[str, ...]:
    """Remove what files and helpers have for a registry as a whole, and return where there was something.

    Raises:
        As :func:`store_login`.
    """
    erased: list[str] = []
    for file in files.files:
        fields = _document(files, file)
        if keys_of(_auths(fields), domain, ""):
            with _changed(files, file) as fields:
                fields["auths"] = _without(_auths(fields), domain)
            erased.append(str(file))
        server, helper, timeout = server_name(domain), _helper(fields, file, domain), files.helper_timeout
        if helper and ask_helper(helper, server, timeout=timeout):
            erase_at_helper(helper, server, timeout=timeout)
            erased.append(f"helper {helper}")
    return tuple(erased)


def _document(files: CredentialFiles, file: Path) -> dict[str, Any]:
    """Return a document, empty where there is none yet."""
    try:
        raw = files.read(file)
    except NotFoundError:
        return {}
    fields = {} if raw is None or not raw.strip() else load(raw, str(file))
    Record.of(fields, str(file), FIELDS)
    if not isinstance(fields.get("auths") or {}, dict):
        raise InvalidError(f"{file}: auths: expected an object; correct the file")
    return fields


def _auths(fields: dict[str, Any]) -> dict[str, Any]:
    return fields.get("auths") or {}


def _without(auths: dict[str, Any], domain: str) -> dict[str, Any]:
    ours = keys_of(auths, domain, "")
    return {key: entry for key, entry in auths.items() if key not in ours}


def _helper(fields: dict[str, Any], file: Path, domain: str) -> str:
    """Return the helper that a document names for a registry; empty for none."""
    record = Record.of(fields, str(file), FIELDS)
    helpers = record.text_map("credHelpers")
    return next((helpers[key] for key in keys_of(helpers, domain, "")), record.text("credsStore", ""))


@contextmanager
def _changed(files: CredentialFiles, file: Path) -> Iterator[dict[str, Any]]:
    """Yield a document to change, with no other process of ours doing so, and write it when the block ends."""
    place = file.resolve()  # people link to files that they keep elsewhere
    with translated(f"writing {place}"):
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with opened(place.parent, KNOWN_DIRECTORY) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            fields = _document(files, place)
            yield fields
            _write(place, json.dumps(fields, indent="\t").encode() + b"\n")


def _write(place: Path, data: bytes) -> None:
    """Replace a file by one that its owner alone may read, from the first byte on."""
    remove_abandoned(place.parent)
    draft = place.with_name(owned_name(f".{place.name}"))
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            if place.exists():
                owner = place.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)  # of the user, when root logs in for them
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(place.parent)
