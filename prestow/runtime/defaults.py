"""What every container gets before its image and its operator have a say.

containerd's defaults, but for ``/run``, which stays the image's own as it does in Docker: builders put folders there
that programs need. The device cgroup starts closed; a runtime opens the harmless devices that it makes by itself.
"""

from typing import Any

from prestow.runtime.seccomp import profile
from prestow.runtime.spec import Mount

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""``PATH`` of a process whose image names none."""

CAPABILITIES = (
    "CAP_AUDIT_WRITE",
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_MKNOD",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETFCAP",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_CHROOT",
)

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)

READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

NAMESPACES = ("cgroup", "ipc", "mount", "network", "pid", "uts")

OPEN_FILES = 1024

_CLOSED = ("nosuid", "noexec", "nodev")
MOUNTS = (
    Mount("/proc", "proc", "proc", _CLOSED),
    Mount("/dev", "tmpfs", "tmpfs", ("nosuid", "strictatime", "mode=755", "size=65536k")),
    Mount("/dev/pts", "devpts", "devpts", ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")),
    Mount("/dev/shm", "tmpfs", "shm", (*_CLOSED, "mode=1777", "size=65536k")),  # noqa: S108 - the container's own
    Mount("/dev/mqueue", "mqueue", "mqueue", _CLOSED),
    Mount("/sys", "sysfs", "sysfs", (*_CLOSED, "ro")),
    Mount("/sys/fs/cgroup", "cgroup", "cgroup", (*_CLOSED, "relatime", "ro")),
)


def process() -> dict[str, Any]:
    """Return the part of ``process`` that no image decides.

    No set is inheritable or ambient: a process that is not root holds none of the capabilities after its exec.
    """
    return {
        "capabilities": {name: list(CAPABILITIES) for name in ("bounding", "effective", "permitted")},
        "noNewPrivileges": True,
    }


def linux(architecture: str) -> dict[str, Any]:
    """Return the section ``linux`` for images of an architecture."""
    return {
        "namespaces": [{"type": name} for name in NAMESPACES],
        "maskedPaths": list(MASKED_PATHS),
        "readonlyPaths": list(READONLY_PATHS),
        "resources": {"devices": [{"allow": False, "access": "rwm"}]},
        "seccomp": profile(architecture),
    }
