"""The failures of part B of docs/reference/threats.md, each as what a scripted registry does in one repository.

The repository has the failure's name, which begins with its row: ``b31-refused``. Some fail for every image, some only
where a token is asked for; the rows that are no answer of a registry are in :data:`ELSEWHERE`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prestow.oci import mediatypes
from prestow.oci.descriptor import Descriptor
from tests.image_factory import PLATFORMS, put_blob, put_document, put_image, put_index, read_blob, tag
from tests.registries import Fault, FaultRegistry
from tests.tar_builder import Tar

MIB = 1 << 20
ELSEWHERE = {
    "b16": "no failure: what is embedded is not read",
    "b17": "no failure: other places are not read",
    "b20": "no answer of a registry: the reference is refused before any",
    "b22": "no failure",
    "b24": "not applicable",
    "b32": "no failure: a lifetime is bounded",
    "b38": "no failure: cookies are not kept",
    "b52": "not applicable",
    "b54": "no answer of a registry",
    "b55": "no answer of a registry",
    "b56": "no answer of a registry: the image is in an archive",
}
OF_THE_SETTING = {
    "b35": "another port of a host that has credentials",
    "b36": "a helper that fails",
    "b50": "a proxy that refuses",
    "b51": "a certificate for another name",
    "b53": "a mirror that fails",
}
"""Rows whose failure is not in a repository of the registry: what runs the others has to make them."""

OCI_MANIFEST = mediatypes.MANIFESTS[False]
DIGEST = "sha256:" + 64 * "0"


@dataclass(frozen=True)
class Failure:
    """A failure.

    Attributes:
        faults: what the registry does: where in its repository, how, and to which requests.
        image: writes an image that is no good to a layout, and returns its descriptor; a good one if not given.
        of_token: whether the token service fails, not the registry.
    """

    faults: tuple[tuple[str, Fault, Mapping[str, Any]], ...] = ()
    image: Callable[[Path], Descriptor] | None = None
    of_token: bool = False

    def script(self, registry: FaultRegistry, repository: str) -> str:
        """Let a registry fail in a repository, and return its image, ``repository:tag``."""
        for place, fault, options in self.faults:
            where = rf"^/token.*(:|%3A){repository}(:|%3A)" if self.of_token else f"^/v2/{repository}/{place}"
            registry.on(where, fault, **options)
        layout = registry.layout
        label = {"Labels": {"failure": repository}}  # an image of its own: none of its blobs comes by another failure
        image = self.image(layout) if self.image else put_image(layout, [Tar().to_bytes()], config=label)
        tag(layout, image, repository)
        return f"{repository}:{repository}"


def at(place: str, fault: Fault, **options: Any) -> Failure:
    """Return a failure at one place; that of a tag is asked with no token yet, that of a digest with one."""
    return Failure(((place, fault, options),))


def of_token(fault: Fault) -> Failure:
    """Return a failure of the token service."""
    return Failure((("", fault, {}),), of_token=True)


def document(body: bytes, media_type: str | None = OCI_MANIFEST) -> Failure:
    """Return a tag that has these bytes for a manifest."""
    wrong = Fault(body=body, headers={"Content-Type": media_type, "Docker-Content-Digest": None})
    return Failure((("manifests/", Fault(status=405), {"method": "HEAD"}), ("manifests/", wrong, {"method": "GET"})))


def manifest(**members: object) -> Failure:
    """Return a tag whose manifest differs from a good one."""
    layer = {"mediaType": mediatypes.OCI_LAYER, "digest": DIGEST, "size": 1}
    good = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "layers": [layer], "config": {
        "mediaType": mediatypes.CONFIGS[False], "digest": DIGEST, "size": 2,
    }}  # fmt: skip
    return document(json.dumps({**good, **members}).encode())


def challenged(challenge: str) -> Fault:
    """Return a refusal."""
    return Fault(status=401, headers={"WWW-Authenticate": challenge})


def rotten(layout: Path) -> Descriptor:
    found = put_image(layout, [Tar().file("rotten", b"x").to_bytes()])
    (layer,) = json.loads(read_blob(layout, found.digest))["layers"]
    (layout / "blobs" / layer["digest"].replace(":", "/")).write_bytes(b"x" * layer["size"])
    return found


def other_platform(layout: Path) -> Descriptor:
    return put_index(layout, [put_image(layout, [b""], platform=PLATFORMS[1])])


def nested(layout: Path) -> Descriptor:
    found = put_image(layout, [b""])
    for _ in range(12):
        found = put_index(layout, [found])
    return found


def large_config(layout: Path) -> Descriptor:
    found = put_image(layout, [b""])
    document = json.loads(read_blob(layout, found.digest))
    document["config"] = put_blob(layout, b" " * (5 * MIB), document["config"]["mediaType"]).to_json()
    return put_document(layout, document, OCI_MANIFEST)


def failures(secrets: str, signature: str, stranger: str) -> dict[str, Failure]:
    """Return the failures by their names.

    Args:
        secrets: what the registry echoes wherever it can.
        signature: a secret of its own, in URLs that it redirects to.
        stranger: ``host:port`` of another server.
    """
    encoding = secrets.partition(" ")[0]
    words = json.dumps({"errors": [{"code": "DENIED", "message": f"{secrets} \x1b[2J\r\n"}]}).encode()
    layer = {"mediaType": mediatypes.OCI_LAYER, "digest": DIGEST, "size": 1}
    found = {
        "b01-other-bytes": Failure(image=rotten),
        "b02-fewer": at("blobs/", Fault(body=b"")),
        "b02-more": at("blobs/", Fault(body=b"x" * MIB, chunked=True)),
        "b03-size": manifest(layers=[{**layer, "size": -1}]),
        "b04-endless": document(b" " * (5 * MIB)),
        "b05-config": Failure(image=large_config),
        "b06-twice": document(b'{"schemaVersion":2,"schemaVersion":2}'),
        "b07-spelling": document(b'{"schemaVersion":2,"Layers":[]}'),
        "b08-rest": document(b"{}{}"),
        "b09-cut": document(b'{"schemaVersion":2,"layers":[{"' + secrets.encode()),
        "b10-type": manifest(mediaType=mediatypes.INDEXES[False]),
        "b11-both": manifest(manifests=[]),
        "b12-schema-1": document(b'{"schemaVersion":1}', min(mediatypes.SCHEMA_1)),
        "b13-nested": Failure(image=nested),
        "b14-sizes": manifest(layers=[layer, {**layer, "size": 2}]),
        "b15-platform": Failure(image=other_platform),
        "b18-digest": manifest(layers=[{**layer, "digest": "sha256:../../etc/passwd"}]),
        "b19-algorithm": manifest(layers=[{**layer, "digest": "sha3:" + 64 * "0"}]),
        "b21-digest": at("manifests/b21", Fault(headers={"Docker-Content-Digest": DIGEST})),
        "b23-page": document(f"<html>{secrets}</html>".encode(), "text/html"),
        "b25-elsewhere": at("blobs/", Fault(redirect=f"https://{stranger}/nothing?X-Amz-Signature={signature}")),
        "b26-plain": at("blobs/", Fault(redirect=f"http://{stranger}/?X-Amz-Signature={signature}")),
        "b27-no-url": at("blobs/", Fault(redirect=f"ftp://{stranger}/?{signature}")),
        "b27-user": at("blobs/", Fault(redirect=f"https://user:{signature}@{stranger}/")),
        "b27-metadata": at("blobs/", Fault(redirect=f"https://169.254.169.254/?{signature}")),
        "b27-circle": at("blobs/", Fault(redirect="?")),
        "b28-realm": at("", challenged(f'Bearer realm="https://{stranger}/token"')),
        "b29-realm": at("", challenged(f'Bearer realm="ftp://{stranger}/?{signature}"')),
        "b29-loopback": at("", challenged('Bearer realm="https://127.0.0.1/token"')),
        "b30-grammar": at("", challenged(f'Bearer realm="{secrets}')),
        "b34-never": at("manifests/sha256:", challenged(f'Basic realm="{secrets}"')),
        "b37-plain": at("", challenged(f'Bearer realm="http://{stranger}/token"')),
        "b39-wait": at("manifests/sha256:", Fault(status=429, headers={"Retry-After": "1000000000"}, body=words)),
        "b39-nonsense": at("manifests/sha256:", Fault(status=429, headers={"Retry-After": secrets[:20]}, body=words)),
        "b40-down": at("blobs/", Fault(status=503, body=words)),
        "b41-broken": at("blobs/", Fault(drop_after=1)),
        "b42-whole": at("blobs/", Fault(drop_after=1, whole=True)),
        "b43-other-part": at("blobs/", Fault(status=206, headers={"Content-Range": "bytes 5-6/7"})),
        "b44-stalls": at("blobs/", Fault(stall_after=1)),
        "b45-silent": at("blobs/", Fault(silent=True)),
        "b46-length": at("blobs/", Fault(headers={"Content-Length": "-1"})),
        "b47-encoding": at("blobs/", Fault(headers={"Content-Encoding": encoding}, body=b"encoded")),
        "b48-headers": at("blobs/", Fault(raw=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 30_000)),
        "b48-no-http": at("blobs/", Fault(raw=f"HTTP/1.1 {secrets}\r\n\r\n".encode())),
        "b48-no-header": at("blobs/", Fault(raw=f"HTTP/1.1 200 OK\r\n{secrets}\r\n\r\n".encode())),
        **{
            f"b49-words-{status}": at("blobs/", Fault(status=status, body=words))
            for status in (400, 401, 403, 404, 500)
        },
    }
    tokens = {
        **{f"b31-words-{status}": Fault(status=status, body=words) for status in (400, 401, 403, 404, 405, 500)},
        "b31-no-json": Fault(body=secrets.encode()),
        "b31-no-token": Fault(body=json.dumps({"token": f"{secrets}\r\nX: y"}).encode()),
        "b31-redirect": Fault(redirect=f"https://{stranger}/token?X-Amz-Signature={signature}"),
        "b31-ends": Fault(drop_after=1),
        "b33-refused": Fault(body=b'{"token":"unknown"}'),
        "b45-token": Fault(silent=True),
    }
    return found | {name: of_token(fault) for name, fault in tokens.items()}


def rows(names: Mapping[str, object]) -> set[str]:
    """Return the rows of failures, as the page writes them."""
    return {re.sub(r"^b(\d\d).*", r"B-\1", name) for name in names}
