"""Secrets stay where they belong: whatever goes wrong, no message, traceback or log has them."""

import base64
import json
import logging
import os
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.errors import PrestowError
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_LAYER
from prestow.platforms import Platform
from prestow.reference import Reference
from prestow.registry.blob import fetch_blob
from prestow.registry.credentials import Credential, CredentialFiles, Credentials
from prestow.registry.fetch import fetch_manifest
from prestow.registry.hosts import Options, Timeouts
from prestow.registry.source import Source, Sources
from tests.image_factory import put_blob
from tests.registries import Access, Fault, FaultRegistry

AMD64 = Platform("linux", "amd64")
CANARY = "canary-9f3c"
LOGIN = base64.b64encode(f"{CANARY}:{CANARY}".encode()).decode()
PATIENT = Timeouts()
ECHO = b'{"errors":[{"code":"DENIED","message":"' + CANARY.encode() + b'"}]}'
FAULTS = [
    Fault(status=401, body=ECHO),
    Fault(status=403, body=ECHO),
    Fault(status=404, body=ECHO),
    Fault(status=429, body=ECHO),
    Fault(status=500, body=ECHO),
    Fault(drop_after=1),
    Fault(raw=b"HTTP/1.1 " + CANARY.encode() + b"\r\n\r\n"),
    Fault(raw=b"HTTP/1.1 200 OK\r\n" + CANARY.encode() + b"\r\n\r\n"),
    Fault(silent=True),
    Fault(body=b"x"),
    Fault(headers={"Content-Encoding": "gzip"}, body=b"x" * 10, chunked=True),
    Fault(headers={"Content-Encoding": CANARY}, body=b"x" * 10, chunked=True),
    Fault(redirect=f"http://127.0.0.1:1/?X-Amz-Signature={CANARY}"),
    Fault(redirect=f"http://user:{CANARY}@127.0.0.1:1/"),
    Fault(redirect=f"ftp://127.0.0.1:1/?{CANARY}"),
    Fault(redirect=f"http://169.254.169.254:1/?{CANARY}"),
]


def fetch(source: Source, content: LocalStore, descriptor: Descriptor) -> None:
    if descriptor.media_type == OCI_LAYER:
        fetch_blob(source, content, descriptor)
    else:
        fetch_manifest(source, content, descriptor, AMD64)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: repr(fault)[:80])
@pytest.mark.parametrize("place", ["/manifests/", "/blobs/", "/token"])
def test_no_failure_tells_a_secret(
    fault_registry: FaultRegistry, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: Fault, place: str
) -> None:
    caplog.set_level(logging.DEBUG, "prestow")
    caplog.set_level(logging.INFO)
    fault_registry.access = Access(fault_registry.url + "/token")
    layer = put_blob(fault_registry.layout, b"x" * 1000, OCI_LAYER)
    content = LocalStore(tmp_path / "content", tmp_path / "ingest", durable=False)
    options = Options(timeouts=PATIENT if not fault.silent else replace(PATIENT, document=1, blob=1, idle=1))
    reference = Reference.parse(f"{fault_registry.domain}/team/app:demo")

    with Sources(options, credentials=Credentials(lambda *_: Credential(CANARY, CANARY))) as sources:
        source = sources.open(reference)
        target = source.resolve() if place != "/token" else layer  # from here on, every request proves who we are
        fault_registry.on(place, fault)
        with pytest.raises(PrestowError) as caught:
            fetch(source, content, target if place == "/manifests/" else layer)

    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert CANARY not in caplog.text


def of_auth_json(folder: Path, domain: str) -> CredentialFiles:
    return written(folder, {"auths": {f"{domain}/team": {"auth": LOGIN}}})


def of_an_identity_token(folder: Path, domain: str) -> CredentialFiles:
    return written(folder, {"auths": {domain: {"identitytoken": CANARY}}})


def of_a_helper(folder: Path, domain: str) -> CredentialFiles:
    program = folder / "docker-credential-canary"
    program.write_text(f"""#!/bin/sh\necho '{{"Username":"{CANARY}","Secret":"{CANARY}"}}'\n""")
    program.chmod(0o700)
    return written(folder, {"credHelpers": {domain: "canary"}})


def of_the_variable(_folder: Path, domain: str) -> CredentialFiles:
    return CredentialFiles((), json.dumps({"auths": {domain: {"auth": LOGIN}}}))


def written(folder: Path, document: object) -> CredentialFiles:
    (folder / "auth.json").write_text(json.dumps(document))
    return CredentialFiles((folder / "auth.json",))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: repr(fault)[:80])
@pytest.mark.parametrize("origin", [of_auth_json, of_an_identity_token, of_a_helper, of_the_variable])
def test_no_token_service_s_failure_shows_a_secret_from_anywhere(
    fault_registry: FaultRegistry,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    origin: Callable[[Path, str], CredentialFiles],
    fault: Fault,
) -> None:
    caplog.set_level(logging.DEBUG, "prestow")
    caplog.set_level(logging.INFO)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    fault_registry.access = Access(fault_registry.url + "/token")
    fault_registry.on("/token", Fault(status=401, body=ECHO), method="POST", times=1)
    fault_registry.on("/token", fault)
    files = origin(tmp_path, fault_registry.domain)
    options = Options(timeouts=PATIENT if not fault.silent else replace(PATIENT, document=1, blob=1, idle=1))

    with Sources(options, credentials=Credentials(files.find, files.places)) as sources:
        source = sources.open(Reference.parse(f"{fault_registry.domain}/team/app:demo"))
        with pytest.raises(PrestowError) as caught:
            source.resolve()

    sent = [
        f"{seen.headers.get('Authorization', '')}{seen.body.decode()}" for seen in fault_registry.requests("/token")
    ]
    assert any(CANARY in each or LOGIN in each for each in sent), "the secret was among what was sent"
    for secret in (CANARY, LOGIN):
        assert secret not in "".join(traceback.format_exception(caught.value))
        assert secret not in caplog.text
        assert secret not in repr(files)
