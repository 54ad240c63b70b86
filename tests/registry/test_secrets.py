"""Secrets stay where they belong: whatever goes wrong, no message, traceback or log has them."""

import logging
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.content.local import LocalStore
from prestow.errors import PrestowError
from prestow.oci.descriptor import Descriptor
from prestow.oci.mediatypes import OCI_LAYER
from prestow.platforms import Platform
from prestow.reference import Reference
from prestow.registry.credentials import Credential, Credentials
from prestow.registry.fetch import fetch_blob, fetch_manifest
from prestow.registry.hosts import Options, Timeouts
from prestow.registry.source import Source, Sources
from tests.image_factory import put_blob
from tests.registries import Access, Fault, FaultRegistry

AMD64 = Platform("linux", "amd64")
CANARY = "canary-9f3c"
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
    Fault(headers={"Content-Encoding": "gzip"}),
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
    options = Options(timeouts=replace(Timeouts(), exchange=0.3, idle=0.2))
    reference = Reference.parse(f"{fault_registry.domain}/team/app:demo")

    with Sources(options, credentials=Credentials(lambda *_: Credential(CANARY, CANARY))) as sources:
        source = sources.open(reference)
        target = source.resolve() if place != "/token" else layer  # from here on, every request proves who we are
        fault_registry.on(place, fault)
        with pytest.raises(PrestowError) as caught:
            fetch(source, content, target if place == "/manifests/" else layer)

    assert CANARY not in "".join(traceback.format_exception(caught.value))
    assert CANARY not in caplog.text
