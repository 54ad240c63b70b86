"""The seccomp profile: its shape for every architecture, and what a container finds of it."""

import json
import sys
from pathlib import Path

import pytest

from prestow.runtime.overrides import Overrides
from prestow.runtime.seccomp import allowed, profile
from prestow.runtime.spec import Mount
from tests.runtime.containers import Box

DANGEROUS = {
    *("mount", "umount2", "pivot_root", "move_mount", "open_tree", "fsopen", "mount_setattr", "unshare", "setns"),
    *("clone", "clone3", "socket", "socketcall", "personality", "bpf", "perf_event_open", "userfaultfd", "keyctl"),
    *("add_key", "request_key", "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "open_by_handle_at", "fanotify_init", "quotactl"),
    *("iopl", "ioperm", "settimeofday", "clock_settime", "sethostname", "syslog", "vhangup", "uselib", "_sysctl"),
    *("reboot", "swapon", "acct"),
}
ARCHITECTURES = ["amd64", "arm64", "386", "arm", "s390x", "ppc64le", "riscv64", "loong64"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_it_is_an_allow_list_without_what_is_dangerous(architecture: str) -> None:
    found = profile(architecture)

    allows = [rule for rule in found["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW"]
    unconditional = [name for rule in allows if "args" not in rule for name in rule["names"]]
    assert found["defaultAction"] == "SCMP_ACT_ERRNO"
    assert unconditional == sorted(set(unconditional))
    assert tuple(unconditional) == allowed(architecture)
    assert not DANGEROUS & set(unconditional)
    assert {"read", "write", "openat", "execve", "mmap", "futex", "ptrace", "chroot", "rseq"} <= set(unconditional)


def test_a_family_is_filtered_as_a_whole() -> None:
    assert "SCMP_ARCH_X86_64" in profile("386")["architectures"]
    assert "SCMP_ARCH_AARCH64" in profile("arm")["architectures"]
    assert "architectures" not in profile("loong64")


def test_the_flags_of_clone_are_where_the_architecture_has_them() -> None:
    def index(architecture: str) -> int:
        (rule,) = (rule for rule in profile(architecture)["syscalls"] if rule["names"] == ["clone"])
        return int(rule["args"][0]["index"])

    assert (index("amd64"), index("arm64"), index("s390x")) == (0, 0, 1)


PROBE = """
import ctypes, json, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
x86 = platform.machine() == "x86_64"
numbers = dict(
    unshare=(272, 97), bpf=(321, 280), keyctl=(250, 219), userfaultfd=(323, 282), perf_event_open=(298, 241),
    io_uring_setup=(425, 425), clone3=(435, 435), personality=(135, 92), setns=(308, 268),
    mount=(165, 40), socket=(41, 198),
)
def call(name, *arguments):
    number = numbers[name][0 if x86 else 1]
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in (*arguments, 0, 0, 0, 0)[:5]])
    if name == "socket" and result >= 0:
        os.close(result)
    return ctypes.get_errno()
print(json.dumps({
    **{name: call(name) for name in numbers if name != "socket"},
    "personality_odd": call("personality", 0x0040000),
    **{"family%d" % n: call("socket", n, 1) for n in (1, 2, 10)},
    **{"family%d" % n: call("socket", n, 5) for n in (38, 40)},
    "high_bits": call("socket", (1 << 32) | 38, 5),
    "netlink": call("socket", 16, 3),
}))
"""
EPERM, ENOSYS, EINVAL, EFAULT = 1, 38, 22, 14


def test_a_container_is_held_to_it(tmp_path: Path) -> None:
    box = Box(tmp_path)
    host = Overrides(mounts=(Mount("/host", "bind", "/", ("rbind", "ro")),))

    found = json.loads(box.run("chroot", "/host", sys.executable, "-c", PROBE, overrides=host))

    assert found == {
        **dict.fromkeys(("unshare", "bpf", "keyctl", "userfaultfd", "perf_event_open", "io_uring_setup"), EPERM),
        **dict.fromkeys(("setns", "mount", "personality_odd"), EPERM),
        **dict.fromkeys(("family1", "family2", "family10", "netlink", "personality"), 0),
        **dict.fromkeys(("family38", "family40", "high_bits"), EPERM),
        "clone3": ENOSYS,
    }


def test_an_operator_can_do_without(tmp_path: Path) -> None:
    box = Box(tmp_path)

    held = box.run("cat", "/proc/self/status")
    free = box.run("cat", "/proc/self/status", overrides=Overrides(seccomp="unconfined"))

    assert "Seccomp:\t2" in held
    assert "Seccomp:\t0" in free
