"""Root file systems of one program, and image configs to go with them."""

import json
import shutil
from pathlib import Path
from typing import Any

from prestow.oci.image_config import ImageConfig
from prestow.platforms import host
from prestow.runtime.overrides import Overrides
from prestow.runtime.rootfs import DirectoryRoot
from prestow.runtime.spec import Spec
from prestow.runtime.transform import transform_config

PROGRAMS = (
    "sh",
    "id",
    "cat",
    "ls",
    "env",
    "sleep",
    "mount",
    "unshare",
    "stat",
    "touch",
    "chroot",
    "hostname",
    "kill",
    "tr",
)
PASSWD = "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
GROUP = "root:x:0:\nwheel:x:10:root,app\napp:x:1000:\naudio:x:29:other, app\nvideo:x:44:apple\n"


def make_rootfs(directory: Path, *, passwd: str = PASSWD, group: str = GROUP) -> Path:
    """Fill a directory with busybox and a user ``app`` that is in two groups beside its own."""
    (directory / "bin").mkdir(parents=True)
    (directory / "etc").mkdir()
    shutil.copy("/bin/busybox", directory / "bin/busybox")
    for name in PROGRAMS:
        (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc/passwd").write_text(passwd)
    (directory / "etc/group").write_text(group)
    return directory


def make_config(process: dict[str, Any] | None = None, **fields: Any) -> ImageConfig:
    """Parse an image config for this machine whose ``config`` is ``process``."""
    document = {"os": "linux", "architecture": host().architecture, "rootfs": {"type": "layers", "diff_ids": []}}
    return ImageConfig.parse(json.dumps({**document, "config": process, **fields}).encode())


def make_spec(
    rootfs: Path, process: dict[str, Any] | None = None, overrides: Overrides | None = None, **fields: Any
) -> Spec:
    """Transform a config for this machine; ``sh`` is the command where there is none."""
    config = make_config({"Cmd": ["sh"], **(process or {})}, **fields)
    return transform_config(config, overrides or Overrides(), DirectoryRoot(rootfs), host=host())
