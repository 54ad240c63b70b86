"""The default seccomp profile: what a container may ask of the kernel (runtime-spec, config-linux.md, "Seccomp").

An allow list: what is not named here fails with EPERM, and runc answers ENOSYS for calls newer than any named, so that
C libraries fall back. Left out is what reaches beyond the container or has little use but attack: mounts and
namespaces, modules, kexec, keyrings, bpf, perf, userfaultfd, io_uring, file handles, quotas, clocks that are set, raw
I/O ports, fanotify; and ``socketcall``, through whose pointers a filter cannot see.

Three calls depend on their arguments. ``clone`` may not make namespaces; ``clone3`` hides its flags in memory, so it
does not exist here and C libraries use ``clone``. ``socket`` knows five families: AF_ALG, AF_VSOCK and the museum of
others stay shut; the kernel looks at 32 bits of the family, and so does the filter. ``personality`` has the five values
that programs use.
"""

from typing import Any

_ARCHITECTURES = {
    "amd64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "arm64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
    "386": ("SCMP_ARCH_X86",),
    "arm": ("SCMP_ARCH_ARM",),
    "ppc64le": ("SCMP_ARCH_PPC64LE",),
    "riscv64": ("SCMP_ARCH_RISCV64",),
    "s390x": ("SCMP_ARCH_S390X", "SCMP_ARCH_S390"),
}
# A 64-bit kernel may also run the 32-bit calls of its family, whatever the image says of itself.
_FAMILY = {"386": "amd64", "arm": "arm64"}

_FILES = """
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat faccessat2
    fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync
    flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64
    inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lchown lchown32 link linkat listmount _llseek
    lseek lstat lstat64 mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pread64 preadv
    preadv2 pwrite64 pwritev pwritev2 read readahead readdir readlink readlinkat readv rename renameat renameat2 rmdir
    sendfile sendfile64 splice stat stat64 statfs statfs64 statmount statx symlink symlinkat sync sync_file_range
    syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64 utimes vmsplice write writev
"""
_ATTRIBUTES = """
    fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
    lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
"""
_MEMORY = """
    brk cachestat get_mempolicy madvise map_shadow_stack mbind membarrier memfd_create memfd_secret mincore mlock
    mlock2 mlockall mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free
    pkey_mprotect process_mrelease remap_file_pages set_mempolicy set_mempolicy_home_node
"""
_PROCESSES = """
    capget capset chroot execve execveat exit exit_group fork futex futex_requeue futex_time64 futex_wait futex_waitv
    futex_wake get_robust_list get_thread_area getcpu getpgid getpgrp getpid getpriority getppid getrlimit getrusage
    getsid gettid ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset landlock_restrict_self nice
    pidfd_getfd pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv process_vm_writev ptrace restart_syscall
    rseq rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr
    sched_getparam sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_thread_area
    set_tid_address setpgid setpriority setrlimit setsid sysinfo tgkill times tkill ugetrlimit uname vfork wait4
    uretprobe waitid waitpid
"""
_IDENTITY = """
    getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid
    getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
"""
_SIGNALS_AND_TIME = """
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime clock_gettime64
    clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep pause rt_sigaction rt_sigpending
    rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 setitimer
    sigaction sigaltstack signal signalfd signalfd4 sigpending sigprocmask sigreturn sigsuspend time timer_create
    timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime timer_settime64 timerfd_create
    timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
"""
_WAITING = """
    _newselect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit poll
    ppoll ppoll_time64 pselect6 pselect6_time64 select
"""
_COMMUNICATION = """
    accept accept4 bind connect getpeername getrandom getsockname getsockopt ipc listen mq_getsetattr mq_notify
    mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget msgrcv
    msgsnd pipe pipe2 recv recvfrom recvmmsg recvmmsg_time64 recvmsg semctl semget semop semtimedop semtimedop_time64
    send sendmmsg sendmsg sendto setsockopt shmat shmctl shmdt shmget shutdown socketpair
"""
_OF_ARCHITECTURE = {
    "amd64": "arch_prctl modify_ldt",
    "arm64": "arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls sync_file_range2",
    "ppc64le": "sync_file_range2 swapcontext",
    "riscv64": "riscv_flush_icache riscv_hwprobe",
    "s390x": "s390_pci_mmio_read s390_pci_mmio_write s390_runtime_instr",
}
_SUBJECTS = (
    _FILES,
    _ATTRIBUTES,
    _MEMORY,
    _PROCESSES,
    _IDENTITY,
    _SIGNALS_AND_TIME,
    _WAITING,
    _COMMUNICATION,
)

_EPERM, _ENOSYS = 1, 38
_CLONE_NAMESPACES = 0x7E02_0000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16, "AF_PACKET": 17}
_PERSONALITIES = (0x0, 0x0008, 0x2_0000, 0x2_0008, 0xFFFF_FFFF)  # Linux, 32 bits, uname 2.6, both, a question


def profile(architecture: str) -> dict[str, Any]:
    """Return the profile for images of an architecture, in Go's spelling; an unknown one filters native calls only."""
    family = _FAMILY.get(architecture, architecture)
    # On s390x the flags of clone(2) come second.
    flags = 1 if family == "s390x" else 0
    document: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "architectures": list(_ARCHITECTURES.get(family, ())),
        "syscalls": [
            _allow(*allowed(architecture)),
            _allow("clone", argument=(flags, _CLONE_NAMESPACES, 0, "SCMP_CMP_MASKED_EQ")),
            *(
                _allow("socket", argument=(0, 0xFFFF_FFFF, family_, "SCMP_CMP_MASKED_EQ"))
                for family_ in _FAMILIES.values()
            ),
            *(_allow("personality", argument=(0, value, 0, "SCMP_CMP_EQ")) for value in _PERSONALITIES),
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
        ],
    }
    if not document["architectures"]:
        del document["architectures"]
    return document


def allowed(architecture: str) -> tuple[str, ...]:
    """List the calls that are allowed whatever their arguments, in order."""
    own = _OF_ARCHITECTURE.get(_FAMILY.get(architecture, architecture), "")
    return tuple(sorted(" ".join((*_SUBJECTS, own)).split()))


def _allow(*names: str, argument: tuple[int, int, int, str] | None = None) -> dict[str, Any]:
    rule: dict[str, Any] = {"names": list(names), "action": "SCMP_ACT_ALLOW"}
    if argument is not None:
        index, value, second, operator = argument
        rule["args"] = [{"index": index, "value": value, "valueTwo": second, "op": operator}]
    return rule
