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
