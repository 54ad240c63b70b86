"""What is known of an image, as Markdown for the form on which a person approves of it.

Whoever made the image wrote most of it. Foreign text is set as code, of which Markdown makes nothing else, its control
characters escaped; there is only so much of each text, and so many items of each list.
"""

import json
import re
from collections.abc import Sequence

from flows.figures import size
from prestow.checkpoints import Checkpoint
from prestow.errors import printable
from prestow.oci.descriptor import Descriptor
from prestow.oci.image import Image
from prestow.oci.image_config import ImageConfig, ProcessConfig

_TEXT = 200  # characters of one foreign text
_ITEMS = 20  # of one list


def describe(name: str, checkpoint: Checkpoint, target: Descriptor, image: Image | None, raw: bytes | None) -> str:
    """Give what is known of an image, as Markdown; ``raw`` is its config."""
    lines = [
        f"{_code(name)} is held after {_code(checkpoint)}.",
        "",
        f"- digest: {_code(str(target.digest))}",
    ]
    if image is not None:
        sizes = [layer.descriptor.size for layer in image.layers]
        lines += [
            f"- manifest: {_code(str(image.manifest.digest))}",
            f"- platform: {_code(str(image.platform))}",
            f"- size: {size(sum(sizes))} compressed, {len(sizes)} layer{'s' if len(sizes) > 1 else ''}",
            *_listed([f"{layer.descriptor.digest} {size(layer.descriptor.size)}" for layer in image.layers]),
        ]
    if raw is not None:
        lines += _process(ImageConfig.parse(raw).process)
    return "\n".join(lines)


def _process(config: ProcessConfig) -> list[str]:
    """List how a container of the image would be started."""
    return [
        f"- entrypoint: {_words(config.entrypoint)}",
        f"- command: {_words(config.cmd)}",
        f"- user: {_code(config.user)}",
        f"- working directory: {_code(config.working_dir)}",
        f"- environment: {len(config.env)}",
        *_listed(config.env),
        f"- exposed ports: {len(config.exposed_ports)}",
        *_listed(config.exposed_ports),
        f"- volumes: {len(config.volumes)}",
        *_listed(config.volumes),
    ]


def _listed(items: Sequence[str]) -> list[str]:
    more = [f"  - … and {len(items) - _ITEMS} more"] if len(items) > _ITEMS else []
    return [*(f"  - {_code(item)}" for item in items[:_ITEMS]), *more]


def _words(words: Sequence[str]) -> str:
    return _code(json.dumps(words, ensure_ascii=False)) if words else _code("")


def _code(text: str) -> str:
    """Set foreign text as code, between more backticks than it has in a row (CommonMark 0.31, 6.1)."""
    shown = printable(text, _TEXT)
    if not shown.strip():
        return "none"
    fence = "`" * (max(map(len, re.findall("`+", shown)), default=0) + 1)
    return f"{fence} {shown} {fence}" if "`" in shown or shown != shown.strip() else f"{fence}{shown}{fence}"
