"""Checkpoints: the lifecycle points of an image, in the order in which a pull, a bundle and a run reach them.

A checkpoint is reached when its step's result is complete and durable, so a run may stop there, wait there for a
person, and go on from there later, in another process or after a crash.
"""

from collections.abc import Mapping
from typing import Literal, get_args

Checkpoint = Literal[
    "resolved",
    "manifest-stored",
    "layer-fetched",
    "layer-stored",
    "layer-applied",
    "unpacked",
    "tagged",
    "handed-over",
    "config-transformed",
    "snapshot-created",
    "bundled",
    "running",
    "exited",
]

CHECKPOINTS: tuple[Checkpoint, ...] = get_args(Checkpoint)

REACHED: Mapping[Checkpoint, str] = {
    "resolved": "the registry has said which digest the reference means",
    "manifest-stored": "index, manifest and config are in the content store",
    "layer-fetched": "all bytes of the layer are in an ingest",
    "layer-stored": "the layer is a blob of the right size and digest",
    "layer-applied": "the layer's tar is a blob whose digest is the diff ID, and was scanned",
    "unpacked": "every chain ID is a committed snapshot",
    "tagged": "the name points to the image",
    "handed-over": "the container runtime of the host says that it would use the image",
    "config-transformed": "the runtime spec is complete",
    "snapshot-created": "the container has its writable snapshot",
    "bundled": "`config.json` and `rootfs` are complete",
    "running": "the process is starting",
    "exited": "the process has ended",
}
"""When each checkpoint is reached, for people."""

UNPACKING = frozenset[Checkpoint]({"layer-applied", "unpacked"})
"""Checkpoints that a pull without unpacking does not reach."""

STEPS: Mapping[str, Checkpoint] = {
    "resolve": "resolved",
    "fetch_manifest": "manifest-stored",
    "fetch_artifact": "manifest-stored",
    "fetch_layer": "layer-fetched",
    "verify": "layer-stored",
    "apply": "layer-applied",
    "commit_snapshots": "unpacked",
    "tag": "tagged",
    "hand_over": "handed-over",
    "transform_config": "config-transformed",
    "create_snapshot": "snapshot-created",
    "write_bundle": "bundled",
    "run_container": "exited",
}
"""The checkpoint that each step reaches (``run_container`` passes ``running`` on its way); a pull without unpacking
has the step ``fetch_artifact`` instead of ``fetch_manifest``; ``hand_over`` is left out where no runtime is wanted."""
