"""Real containers by the real runc: what they see, how they end, what they leave."""

import errno
import os
import pty
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from prestow.errors import (
    InvalidError,
    PreconditionError,
    RuntimeFailedError,
)
from prestow.runtime.overrides import Overrides, Resources, Rootless
from prestow.runtime.runc import run_container
from prestow.runtime.spec import Mount
from prestow.runtime.state import State, container_state, delete_container
from tests.runtime.busybox import make_rootfs, make_spec
from tests.runtime.containers import WAIT, Box


def test_a_user_of_the_image_has_its_groups(box: Box) -> None:
    text = box.run("id", config={"User": "app"})

    assert text == "uid=1000(app) gid=1000(app) groups=10(wheel),29(audio),1000(app)\n"


def test_a_number_has_no_groups(box: Box) -> None:
    assert box.run("id", config={"User": "77:88"}).split()[:2] == ["uid=77", "gid=88"]


def test_the_exit_status_is_that_of_the_process(box: Box) -> None:
    assert box.try_("sh", "-c", "exit 7")[0] == 7
    assert box.try_("sh", "-c", "exit 1")[0] == 1
    assert box.try_("sh", "-c", "exit 255")[0] == 255
    assert box.leftovers() == []


def test_an_ended_child_of_the_shell_is_128_and_its_signal(box: Box) -> None:
    assert box.try_("sh", "-c", "sh -c 'kill -9 $$'; exit $?")[0] == 137


def test_both_streams_are_captured(box: Box) -> None:
    text = box.run("sh", "-c", "echo out; echo err >&2")

    assert sorted(text.split()) == ["err", "out"]  # runc has a pipe for each, so their order is lost


def test_a_container_has_the_environment_that_it_was_given(box: Box) -> None:
    text = box.run("env", config={"Env": ["A=b c"], "WorkingDir": "/made/here"}, overrides=Overrides(env=("D=e",)))

    lines = set(text.splitlines())
    assert {"A=b c", "D=e", "HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} == lines
    assert (box.rootfs / "made/here").is_dir()


def test_nothing_of_ours_is_inherited(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CANARY", "secret")
    leak = os.open("/etc", os.O_RDONLY)
    os.set_inheritable(leak, True)  # noqa: FBT003 - its only form

    text = box.run("sh", "-c", "ls -l /proc/self/fd; tr '\\0' '\\n' </proc/1/environ; cat /proc/self/status")

    os.close(leak)
    assert "CANARY" not in text
    assert "/etc" not in text
    assert "CapEff:\t00000000a80425fb" in text
    assert "CapInh:\t0000000000000000" in text
    assert "NoNewPrivs:\t1" in text


def test_a_process_that_is_not_root_has_no_capability(box: Box) -> None:
    assert "CapEff:\t0000000000000000" in box.run("cat", "/proc/self/status", config={"User": "app"})


def test_masked_files_are_empty_and_the_kernels_settings_are_read_only(box: Box) -> None:
    text = box.run(
        "sh", "-c", "cat /proc/keys; ls /sys/firmware; touch /proc/sys/kernel/x 2>&1; touch /sys/x 2>&1; true"
    )

    assert len(text.splitlines()) == 2
    assert "Read-only" in text or "denied" in text


def test_a_volume_can_be_written_by_the_owner_of_its_directory(box: Box) -> None:
    (box.rootfs / "data").mkdir(mode=0o700)
    os.chown(box.rootfs / "data", 1000, 1000)

    text = box.run(
        "sh", "-c", "touch /data/x && stat -c '%u:%g %a' /data", config={"User": "app", "Volumes": {"/data": {}}}
    )

    assert text == "1000:1000 700\n"
    assert list((box.rootfs / "data").iterdir()) == []


def test_overrides_are_obeyed(box: Box, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/file").write_text("hello\n")
    overrides = Overrides(
        hostname="inside",
        read_only=True,
        mounts=(Mount("/mnt/shared", "bind", str(tmp_path / "shared"), ("rbind", "ro")),),
        resources=Resources(memory=64 << 20, cpus=0.5, pids=50, open_files=77),
    )

    text = box.run(
        "sh", "-c", "hostname; cat /mnt/shared/file; ulimit -n; touch /x || echo closed", overrides=overrides
    )

    lines = text.splitlines()
    assert [line for line in lines if "touch" not in line] == ["inside", "hello", "77", "closed"]


def test_limits_reach_the_control_groups(box: Box) -> None:
    text = box.run(
        "sh",
        "-c",
        "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true",
        overrides=Overrides(resources=Resources(memory=64 << 20)),
    )

    assert text.split() == [str(64 << 20)]


def test_the_hosts_network_comes_with_its_resolver(box: Box) -> None:
    text = box.run("sh", "-c", "cat /etc/hosts; ls -l /proc/self/ns/net", overrides=Overrides(network="host"))

    assert Path("/etc/hosts").read_text() in text
    namespace = str(Path("/proc/self/ns/net").readlink())
    assert namespace in text
    assert namespace not in box.run("ls", "-l", "/proc/self/ns/net")


@pytest.mark.parametrize("command", ["no-such-program", "/etc/passwd"])
def test_a_command_that_cannot_be_started_is_the_runtimes_failure(box: Box, command: str) -> None:
    with pytest.raises(RuntimeFailedError, match=command):
        box.try_(command)
    assert box.leftovers() == []


def test_a_spec_that_the_runtime_refuses_is_its_failure(box: Box) -> None:
    missing = Overrides(mounts=(Mount("/x", "bind", "/no/such/source", ("rbind",)),))

    with pytest.raises(RuntimeFailedError, match="no/such/source"):
        box.try_("id", overrides=missing)
    assert box.leftovers() == []


def test_the_same_bundle_runs_again(box: Box) -> None:
    assert box.run("id", "-u") == box.run("id", "-u")


def test_a_signal_is_forwarded_and_the_container_decides(box: Box) -> None:
    box.bundle(["sh", "-c", WAIT])
    with box.start(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

        process.send_signal(signal.SIGTERM)

        assert process.wait() == 3
    assert box.leftovers() == []


# A signal may come just before the shell waits to read; it runs the trap only when it looks again.
READ_LINE = "until read -t 1 line; do :; done"


def test_an_interrupt_from_a_terminal_reaches_the_container_once(box: Box) -> None:
    """Ctrl-C goes to the whole process group of the caller; the runtime is not in it."""
    box.bundle(["sh", "-c", f"trap 'echo caught' INT; echo ready; {READ_LINE}; echo $line"])
    with box.start(stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"

        os.killpg(process.pid, signal.SIGINT)

        assert process.stdout.readline() == b"caught\n"
        process.stdin.write(b"end\n")
        process.stdin.close()
        assert process.stdout.read() in {b"end\n", b"\n"}
        assert process.wait() == 0


def test_a_terminal_is_the_containers_and_comes_back(box: Box) -> None:
    box.bundle(["sh", "-c", "test -t 0 && test -t 1 && echo $TERM; exit 4"], overrides=Overrides(tty=True))
    ours, theirs = pty.openpty()
    process = box.start(stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)

    text = read_terminal(ours)

    assert process.wait() == 4
    assert b"xterm" in text


def read_terminal(descriptor: int) -> bytes:
    """Read until the other side is closed, which a terminal tells by an error."""
    pieces = []
    try:
        while piece := os.read(descriptor, 1024):
            pieces.append(piece)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
    finally:
        os.close(descriptor)
    return b"".join(pieces)


def test_a_bundle_for_a_terminal_does_not_run_without(box: Box) -> None:
    with pytest.raises(PreconditionError, match="terminal"):
        box.try_("id", overrides=Overrides(tty=True))


def test_a_container_that_was_created_and_forgotten_is_cleared(box: Box) -> None:
    box.bundle(["sh"])
    command = ["runc", "--root", str(box.state_root), "create", "--bundle", str(box.directory), box.container_id]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    found = box.state()
    assert found is not None
    assert found.status == "created"

    assert box.run("sh", "-c", "echo fresh") == "fresh\n"


@pytest.mark.parametrize("content", [None, b"", b'{"id":'])
def test_a_broken_record_is_cleared(box: Box, content: bytes | None) -> None:
    record = box.state_root / box.container_id
    record.mkdir(parents=True)
    if content is not None:
        (record / "state.json").write_bytes(content)
    assert box.state() == State("broken", 0)

    assert box.run("sh", "-c", "echo fresh") == "fresh\n"


def test_an_id_that_is_none_reaches_no_runtime(box: Box) -> None:
    for name in ("../x", "-h", ""):
        with pytest.raises(InvalidError):
            run_container(box.runtime, box.directory, name, state_root=box.state_root)
        with pytest.raises(InvalidError):
            delete_container(box.runtime, name, state_root=box.state_root)
        with pytest.raises(InvalidError):
            container_state(box.runtime, name, state_root=box.state_root)


def test_a_link_for_dev_does_not_reach_the_host(box: Box, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/ptmx").touch()
    (box.rootfs / "dev").symlink_to(tmp_path / "victim")

    with pytest.raises(InvalidError, match="symbolic link"):
        box.run("id")
    assert [path.name for path in (tmp_path / "victim").iterdir()] == ["ptmx"]


@pytest.mark.parametrize("network", ["none", "host"])
def test_a_user_without_privileges_runs_a_rootless_container(network: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="rootless-", dir="/var/tmp"))  # tmp_path is closed to other users
    try:
        uid = 61234
        rootfs = make_rootfs(folder / "rootfs")
        overrides = Overrides(rootless=Rootless(uid, uid), network="host" if network == "host" else "none")
        (folder / "config.json").write_bytes(make_spec(rootfs, {"Cmd": ["id"]}, overrides).to_json())
        subprocess.run(["chown", "-R", f"{uid}:{uid}", folder], check=True)

        command = ["runc", "--root", f"{folder}/state", "run", "--bundle", str(folder), f"rootless-{os.getpid()}"]
        done = subprocess.run(
            command, user=uid, group=uid, extra_groups=[], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )

        assert (done.returncode, done.stdout) == (0, b"uid=0(root) gid=0(root)\n"), done.stderr
    finally:
        shutil.rmtree(folder)
