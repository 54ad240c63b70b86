"""Machines on one network, each in namespaces of its own: network, processes, mounts, host name, shared memory.

    with network() as net, net.machine("registry") as registry, net.machine("h1") as h1:
        h1.start(log, "prestow", "node", "up")         # runs there, and reaches registry.address
        h1.off()                                        # the power fails: all of its processes are killed at once

Nothing is named outside: no namespace in /var/run/netns, no interface, no port. Each ends with the process that
holds it. Needs root.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

_CLONE_NEWNET = 0x4000_0000
_SWITCH = "ip link add switch type bridge && ip link set switch up && echo up && exec sleep infinity"
# The first process of a machine collects what its own leave behind, as any init does: dash's wait does that.
_INIT = """
echo made && read cable
echo "$1" > /proc/sys/kernel/hostname
ip link set lo up && ip address add "$2/24" dev eth0 && ip link set eth0 up && echo up
sleep infinity & wait
"""


def _line(process: "subprocess.Popen[str]", wanted: str) -> None:
    assert process.stdout is not None
    found = process.stdout.readline().strip()
    if found != wanted:
        raise RuntimeError(f"expected {wanted!r} of {process.args!r}, found {found!r}")


def _namespace(pid: int) -> str:
    return f"/proc/{pid}/ns/net"


@dataclass
class Machine:
    """A machine; it is off until ``on``.

    Attributes:
        name: its host name.
        address: of its only interface, IPv4.
    """

    name: str
    address: str
    _switch: int
    _holder: "subprocess.Popen[str] | None" = None
    _processes: list["subprocess.Popen[Any]"] = field(default_factory=list)

    def on(self) -> None:
        """Switch it on, and connect it to the network."""
        holder = subprocess.Popen(
            ["unshare", "--net", "--ipc", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
             "sh", "-euc", _INIT, "sh", self.name, self.address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._holder = holder
        _line(holder, "made")
        # as any machine, it keeps its hardware address: the others remember that for a minute
        hardware = ":".join(f"{number:02x}" for number in (2, 0, *map(int, self.address.split("."))))
        cable = ["link", "add", "eth0", "address", hardware, "netns", str(holder.pid), "type", "veth"]
        port = ["peer", "name", self.name, "netns", str(self._switch)]
        subprocess.run(["ip", *cable, *port], check=True)
        subprocess.run([*self._at_switch, "set", "dev", self.name, "master", "switch", "up"], check=True)
        assert holder.stdin is not None
        holder.stdin.write("\n")
        holder.stdin.flush()
        _line(holder, "up")

    def off(self) -> None:
        """Kill all of its processes at once, as when the power fails; files that are on a disk outside stay."""
        if self._holder is None:
            return
        os.kill(self._init, signal.SIGKILL)  # the kernel then kills all of the namespace before it reports the end
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.wait()
        self._holder.stdin.close()
        self._holder.stdout.close()
        for process in self._processes:
            process.wait()
        # the kernel removes a dead namespace's cable some time later
        subprocess.run([*self._at_switch, "delete", "dev", self.name], check=False, stderr=subprocess.DEVNULL)
        self._holder, self._processes = None, []

    @property
    def is_on(self) -> bool:
        """Whether it is switched on."""
        return self._holder is not None

    @property
    def inside(self) -> Sequence[str]:
        """The words before a command that let it run on this machine."""
        return ["nsenter", "--target", str(self._init), "--net", "--ipc", "--uts", "--mount", "--pid"]

    def start(self, log: Path, *command: str, environment: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """Start a program on it, which writes to ``log``; it ends with the machine, if not before."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self.inside, *command], env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self._processes.append(process)
        return process

    def run(self, *command: str, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
        """Run a program on it to its end."""
        return subprocess.run(
            [*self.inside, *command], env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    @property
    def sent_bytes(self) -> int:
        """Bytes that have left its interface, headers included."""
        lines = Path(f"/proc/{self._init}/net/dev").read_text().splitlines()
        (found,) = (line.split() for line in lines if line.strip().startswith("eth0:"))
        return int(found[9])

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Let this thread open connections from this machine for as long as the block lasts."""
        with open("/proc/thread-self/ns/net", "rb") as own, open(_namespace(self._init), "rb") as there:  # noqa: PTH123
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(own.fileno())

    @property
    def _at_switch(self) -> Sequence[str]:
        return ["nsenter", f"--net={_namespace(self._switch)}", "ip", "link"]

    @property
    def _init(self) -> int:
        assert self._holder is not None, f"{self.name} is off"
        pid = self._holder.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def _enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) < 0:
        raise OSError(ctypes.get_errno(), "setns")


class Network:
    """Machines that reach each other, and nothing else."""

    def __init__(self, switch: int) -> None:
        """Connect machines by the bridge in the network namespace of a process."""
        self._switch = switch
        self._numbers = count(1)
        self._machines = ExitStack()

    def machine(self, name: str, *, on: bool = True) -> Machine:
        """Return a new machine; it is switched off with the network."""
        found = Machine(name, f"10.77.0.{next(self._numbers)}", self._switch)
        self._machines.callback(found.off)
        if on:
            found.on()
        return found

    def close(self) -> None:
        """Switch all machines off."""
        self._machines.close()


@contextmanager
def network() -> Iterator[Network]:
    """Yield a network without machines; they are off when the block ends."""
    with subprocess.Popen(["unshare", "--net", "sh", "-euc", _SWITCH], stdout=subprocess.PIPE, text=True) as switch:
        try:
            _line(switch, "up")
            found = Network(switch.pid)
            try:
                yield found
            finally:
                found.close()
        finally:
            switch.kill()
