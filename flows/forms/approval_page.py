"""What is known of an image, as Markdown for the form on which a person approves of it.

Whoever made the image wrote most of it. So foreign text is set as code, and there are only so many items of each list.
"""

import json
from collections.abc import Sequence

from flows.forms.markdown import code, size
from prestow.checkpoints import Checkpoint
from prestow.oci.artifact import Artifact
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image
from prestow.oci.image_config import ImageConfig, ProcessConfig

_ITEMS = 20  # of one list


def describe(
    name: str, checkpoint: Checkpoint, target: Descriptor, image: Image | Artifact | None, raw: bytes | None
) -> str:
    """Return what is known of an image or artifact, as Markdown; ``raw`` is the config of an image."""
    lines = [
        f"{code(name)} is held after {code(checkpoint)}.",
        "",
        f"- digest: {code(str(target.digest))}",
    ]
    if isinstance(image, Artifact):
        lines += [
            f"- stored as it is, not unpacked: {code(image.artifact_type)}",
            *_blobs([blob.descriptor for blob in image.blobs], "blob", ""),
        ]
    elif image is not None:
        lines += [
            f"- manifest: {code(str(image.manifest.digest))}",
            f"- config: {code(str(image.config.digest))}",
            f"- platform: {code(str(image.platform))}",
            *_blobs([layer.descriptor for layer in image.layers], "layer", " compressed"),
        ]
    if raw is not None:
        lines += _config(ImageConfig.parse(raw))
    return "\n".join(lines)


def _blobs(blobs: Sequence[Descriptor], word: str, how: str) -> list[str]:
    """List blobs with their sizes."""
    total = size(sum(blob.size for blob in blobs))
    return [
        f"- size: {total}{how}, {len(blobs)} {word}{'s' if len(blobs) > 1 else ''}",
        *_listed([f"{blob.digest} {size(blob.size)}" for blob in blobs]),
    ]


def _config(config: ImageConfig) -> list[str]:
    """List what the image's builder says of it, and how a container of it would be started."""
    labels = config.process.labels
    return [
        f"- created: {code(config.created)}",
        f"- author: {code(config.author)}",
        *_process(config.process),
        f"- labels: {len(labels)}",
        *_listed([f"{name}={value}" for name, value in labels.items()]),
    ]


def _process(config: ProcessConfig) -> list[str]:
    """List how a container of the image would be started."""
    return [
        f"- entrypoint: {_words(config.entrypoint)}",
        f"- command: {_words(config.cmd)}",
        f"- user: {code(config.user)}",
        f"- working directory: {code(config.working_dir)}",
        f"- environment: {len(config.env)}",
        *_listed(config.env),
        f"- exposed ports: {len(config.exposed_ports)}",
        *_listed(config.exposed_ports),
        f"- volumes: {len(config.volumes)}",
        *_listed(config.volumes),
        f"- stop signal: {code(config.stop_signal)}",
    ]


def _listed(items: Sequence[str]) -> list[str]:
    more = [f"  - … and {len(items) - _ITEMS} more"] if len(items) > _ITEMS else []
    return [*(f"  - {code(item)}" for item in items[:_ITEMS]), *more]


def _words(words: Sequence[str]) -> str:
    return code(json.dumps(words, ensure_ascii=False)) if words else code("")
