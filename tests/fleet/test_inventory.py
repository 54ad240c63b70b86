"""All hosts of a fleet file: its own, and those that other lists add; a name stands for one host."""

from collections.abc import Sequence

import pytest

from prestow.errors import InvalidError
from prestow.fleet.file import FleetFile, Host, HostsCommand, HostsFile, HostsWorkers, ImageSet
from prestow.fleet.inventory import combine

SETS = {"nightly": ImageSet(images=("app:1",))}
WORKERS = HostsWorkers(workers=True, labels={"from": "pool"}, platform="linux/arm64")


def read(entry: HostsFile | HostsCommand) -> Sequence[Host]:
    name = entry.file if isinstance(entry, HostsFile) else entry.command[0]
    return [Host(name=name, labels={"from": "list"})]


def never() -> Sequence[str]:
    raise AssertionError("the pool is asked although no host comes from there")


def test_hosts_of_all_lists_stand_in_the_order_of_the_file() -> None:
    file = FleetFile(hosts=(Host(name="m"), HostsFile(file="z"), HostsCommand(command=("a", "-x"))), sets=SETS)

    assert [host.name for host in combine(file, read, never)] == ["m", "z", "a"]


def test_workers_add_hosts_that_are_not_listed() -> None:
    file = FleetFile(hosts=(WORKERS, Host(name="gpu-01", labels={"role": "gpu"})), sets=SETS)

    found = combine(file, read, lambda: {"gpu-03", "gpu-02", "gpu-01", "ProcessWorker 5fb1"})

    assert found == (
        Host(name="gpu-01", labels={"role": "gpu"}),
        Host(name="gpu-02", labels={"from": "pool"}, platform="linux/arm64"),
        Host(name="gpu-03", labels={"from": "pool"}, platform="linux/arm64"),
    )


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        ((Host(name="a"), HostsFile(file="a")), "two hosts are called a: rename one, or list it once"),
        ((HostsFile(file="a.b"), HostsFile(file="a-b")), "a.b and a-b differ in . and - only"),
        ((WORKERS, WORKERS), "`workers: true` stands there twice; remove one"),
    ],
)
def test_two_hosts_of_one_name_are_an_error(hosts: tuple[object, ...], said: str) -> None:
    file = FleetFile.model_construct(hosts=hosts, sets=SETS)

    with pytest.raises(InvalidError, match=said):
        combine(file, read, list)
