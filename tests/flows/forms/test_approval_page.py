"""The form's text: what an image is and would start, and nothing that whoever made it can do to the page."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from flows.forms.approval_page import describe
from prestow.digest import Digest
from prestow.oci.artifact import Artifact
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Blob, Image, Layer
from prestow.platforms import Platform

DIGEST = Digest.of(b"x")
TARGET = Descriptor("application/vnd.oci.image.index.v1+json", DIGEST, 10)


def image(layers: int = 2) -> Image:
    blobs = [Digest.of(bytes([n])) for n in range(layers)]
    return Image(
        TARGET,
        Descriptor("m", Digest.of(b"m"), 1),
        Descriptor("c", Digest.of(b"c"), 1),
        Platform("linux", "amd64"),
        tuple(Layer(n, layers, Descriptor("l", blob, 3 << 20), blob, blob) for n, blob in enumerate(blobs)),
    )


def config(**process: Any) -> bytes:
    told = {"created": "2026-11-01T00:00:00Z", "author": "Builder"}
    document = {
        "os": "linux",
        "architecture": "amd64",
        "rootfs": {"type": "layers", "diff_ids": []},
        "config": process,
    } | told
    return json.dumps(document).encode()


def texts(markdown: str) -> list[str]:
    """Render as the UI would, and give what is set as code; whatever else there is must be plain text."""
    found = []
    for token in MarkdownIt("commonmark").parse(markdown):
        assert token.type in {
            "paragraph_open", "paragraph_close", "inline", "bullet_list_open", "bullet_list_close", "list_item_open",
            "list_item_close",
        }  # fmt: skip
        for child in token.children or []:
            assert child.type in {"text", "code_inline", "softbreak"}
            if child.type == "code_inline":
                found.append(child.content)
    return found


def test_everything_that_a_decision_needs_is_there() -> None:
    raw = config(
        Entrypoint=["/bin/app", "--serve"], Cmd=["now"], User="1000:1000", Env=["A=1", "B=`2`"], WorkingDir="/srv",
        ExposedPorts={"80/tcp": {}}, Volumes={"/data": {}}, StopSignal="SIGINT", Labels={"revision": "0a1b"},
    )  # fmt: skip

    text = describe("registry.example/team/app:1", "manifest-stored", TARGET, image(), raw)

    assert "size: 6.0 MiB compressed, 2 layers" in text
    assert set(texts(text)) >= {
        "registry.example/team/app:1", "manifest-stored", str(DIGEST), str(Digest.of(b"m")), "linux/amd64",
        '["/bin/app", "--serve"]', '["now"]', "1000:1000", "A=1", "B=`2`", "/srv", "80/tcp", "/data", "SIGINT",
        "revision=0a1b", str(Digest.of(b"c")), "2026-11-01T00:00:00Z", "Builder",
    }  # fmt: skip


def test_before_the_manifest_is_here_only_the_digest_is_known() -> None:
    assert texts(describe("app:1", "resolved", TARGET, None, None)) == ["app:1", "resolved", str(DIGEST)]


def test_there_is_only_so_much_of_anything() -> None:
    labels = {f"l{n}": "x" * 1000 for n in range(1000)}
    raw = config(
        Env=[f"V{n}={'x' * 1000}" for n in range(1000)], Labels=labels, Entrypoint=["y" * 10_000], User="z" * 10_000
    )

    text = describe("n" * 4000, "unpacked", TARGET, image(100), raw)

    assert len(text) < 20_000
    assert "… and 980 more" in text
    assert "… and 80 more" in text


@given(st.text() | st.text("`\n<>*_[]()!#-\\|~ \x1b\u202e&", min_size=1))
def test_foreign_text_is_code_and_nothing_else(evil: str) -> None:
    raw = config(
        Entrypoint=[evil], Cmd=[evil, evil], User=evil, Env=[evil], WorkingDir=evil, ExposedPorts={evil: {}},
        Labels={evil: evil}, StopSignal=evil,
    )  # fmt: skip

    for shown in texts(describe(evil, "manifest-stored", TARGET, image(1), raw)):
        assert shown.isprintable()


def test_what_is_not_to_be_unpacked_is_shown_by_type_and_blobs() -> None:
    blob = Descriptor("application/x", Digest.of(b"y"), 3 << 20)
    artifact = Artifact(TARGET, (TARGET,), "application/x.model*", (Blob(0, 2, blob), Blob(1, 2, TARGET)))

    page = describe("a", "manifest-stored", TARGET, artifact, None)

    assert texts(page) == [
        "a", "manifest-stored", DIGEST, "application/x.model*", f"{blob.digest} 3.0 MiB", f"{DIGEST} 10 B",
    ]  # fmt: skip
    assert "not unpacked" in page
    assert "2 blobs" in page
