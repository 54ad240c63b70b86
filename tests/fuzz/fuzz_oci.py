"""Any bytes as the documents, names and headers that a registry or a user gives.

The first byte says as what. What is read is written and read again where there is a way to write it.
"""

import json
from collections.abc import Callable, Iterator

from tests.fuzz.harness import fuzz, instrumented

with instrumented():
    from prestow.digest import Digest
    from prestow.oci.descriptor import parse_descriptor
    from prestow.oci.document import load
    from prestow.oci.image import assemble
    from prestow.oci.image_config import ImageConfig
    from prestow.oci.index import Index
    from prestow.oci.manifest import Manifest
    from prestow.oci.walk import children, parse_document
    from prestow.platforms import Platform
    from prestow.reference import Reference, parse_source
    from prestow.registry.challenge import parse_challenges
    from prestow.registry.ranges import is_part
    from prestow.registry.url import Url

from tests.oci import samples

_HOST = Platform("linux", "amd64")


def _document(raw: bytes) -> None:
    document = parse_document(raw, None)
    children(document)
    if isinstance(document, Index):
        document.select(_HOST)


def _manifest(raw: bytes) -> None:
    manifest = Manifest.parse(raw)
    manifest.check_image()
    assemble(manifest.config, manifest, ImageConfig.parse(samples.raw(samples.config())))


def _config(raw: bytes) -> None:
    ImageConfig.parse(raw)


def _descriptor(raw: bytes) -> None:
    found = parse_descriptor(load(raw, "fuzz"), "fuzz")
    assert parse_descriptor(found.to_json(), "again") == found


def _reference(raw: bytes) -> None:
    source = parse_source(raw.decode("utf-8", "surrogateescape"))
    if isinstance(source, Reference):
        assert Reference.parse(str(source)) == source


def _platform(raw: bytes) -> None:
    found = Platform.parse(raw.decode("utf-8", "surrogateescape"))
    assert found.normalised().normalised() == found.normalised()


def _digest(raw: bytes) -> None:
    text = raw.decode("utf-8", "surrogateescape")
    assert str(Digest.parse(text)) == text


def _challenges(raw: bytes) -> None:
    parse_challenges(raw.decode("latin-1").split("\n"))


def _url(raw: bytes) -> None:
    first, _, second = raw.decode("utf-8", "surrogateescape").partition("\n")
    Url.parse(first).join(second)


def _range(raw: bytes) -> None:
    is_part(raw.decode("latin-1"), 5, 9, 10)


_CHECKS: tuple[Callable[[bytes], None], ...] = (
    _document, _manifest, _config, _descriptor, _reference, _platform, _digest, _challenges, _url, _range,
)  # fmt: skip


def check(data: bytes) -> None:
    """Read the bytes as what the first one says."""
    if data:
        _CHECKS[data[0] % len(_CHECKS)](data[1:])


def seeds() -> Iterator[bytes]:
    """One valid input of each kind, at least."""
    digest = str(Digest.of(b"x")).encode()
    platform = {"os": "linux", "architecture": "arm", "variant": "v7"}
    valid: dict[Callable[[bytes], None], list[bytes]] = {
        _document: [samples.raw(samples.manifest()), samples.raw(samples.index())],
        _manifest: [samples.raw(samples.manifest())],
        _config: [samples.raw(samples.config())],
        _descriptor: [json.dumps(samples.descriptor(b"x", platform=platform)).encode()],
        _reference: [b"a", b"docker.io/library/a:tag", b"[::1]:5000/a/b@" + digest, b"oci:/some/where:ref"],
        _platform: [b"linux/amd64", b"linux/arm/v7", b"arm64"],
        _digest: [digest, b"sha512:" + b"0" * 128],
        _challenges: [b'Bearer realm="https://a.example/t",service="r",scope="a:b:pull"\nBasic realm=x', b"A abc=="],
        _url: [b"https://a.example:5000/v2/?x=1\n../b", b"http://[::1]/\n//c.example/"],
        _range: [b"bytes 5-9/10", b"bytes 5-9/*"],
    }
    for number, kind in enumerate(_CHECKS):
        for data in valid[kind]:
            yield bytes([number]) + data


if __name__ == "__main__":
    fuzz(check, seeds())
