"""What is known of an image, as Markdown for the form on which a person approves of it.

Whoever made the image wrote most of it. So foreign text is set as code, and there are only so many items of each list.
"""

import json
from collections.abc import Sequence

from flows.forms.markdown import code, size
from prestow.checkpoints import Checkpoint
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image
from prestow.oci.image_config import ImageConfig, ProcessConfig

_ITEMS = 20  # of one list


def describe(name: str, checkpoint: Checkpoint, target: Descriptor, image: Image | None, raw: bytes | None) -> str:
    """Return what is known of an image, as Markdown; ``raw`` is its config."""
    lines = [
        f"{code(name)} is held after {code(checkpoint)}.",
        "",
        f"- digest: {code(str(target.digest))}",
    ]
    if image is not None:
        sizes = [layer.descriptor.size for layer in image.layers]
        lines += [
            f"- manifest: {code(str(image.manifest.digest))}",
            f"- config: {code(str(image.config.digest))}",
            f"- platform: {code(str(image.platform))}",
            f"- size: {size(sum(sizes))} compressed, {len(sizes)} layer{'s' if len(sizes) > 1 else ''}",
            *_listed([f"{layer.descriptor.digest} {size(layer.descriptor.size)}" for layer in image.layers]),
        ]
    if raw is not None:
        lines += _config(ImageConfig.parse(raw))
    return "\n".join(lines)


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
