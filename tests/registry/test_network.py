"""Time and place: how long a server may take, and where it may send us."""

import pytest

from prestow.errors import UnavailableError
from prestow.registry.hosts import Timeouts
from prestow.registry.network import Budget, Reach


class Clock:
    """A clock that is moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("8.8.8.8", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("10.1.2.3", Reach.PRIVATE),
        ("172.16.0.1", Reach.PRIVATE),
        ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("fd00::1", Reach.PRIVATE),
        ("224.0.0.1", Reach.PRIVATE),
        ("127.0.0.1", Reach.LOOPBACK),
        ("0.0.0.0", Reach.LOOPBACK),
        ("::", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("::ffff:10.0.0.1", Reach.PRIVATE),
        ("169.254.169.254", Reach.LINK_LOCAL),
        ("::ffff:169.254.169.254", Reach.LINK_LOCAL),
        ("fe80::1%eth0", Reach.LINK_LOCAL),
        ("nonsense", Reach.PRIVATE),
    ],
)
def test_addresses_are_sorted_by_how_deep_they_lie(address: str, reach: Reach) -> None:
    assert Reach.of(address) is reach


def test_a_server_sends_us_as_deep_as_it_lies_and_to_link_local_only_from_there() -> None:
    allowed = {reach: {other for other in Reach if reach.allows(other)} for reach in Reach}

    assert allowed[Reach.PUBLIC] == {Reach.PUBLIC}
    assert allowed[Reach.PRIVATE] == {Reach.PUBLIC, Reach.PRIVATE}
    assert allowed[Reach.LOOPBACK] == {Reach.PUBLIC, Reach.PRIVATE, Reach.LOOPBACK}
    assert Reach.LINK_LOCAL in allowed[Reach.LINK_LOCAL]


def test_a_document_has_one_deadline_however_often_bytes_come() -> None:
    clock = Clock()
    budget = Budget(Timeouts(document=10, idle=5), clock=clock)

    for _ in range(10):
        assert budget.receive(lambda _: b"x") == b"x"
        clock.now += 1
    with pytest.raises(UnavailableError, match="more than 10 s"):
        budget.receive(lambda _: b"x")


def test_an_answer_may_begin_later_than_a_pause_within_it_may_last() -> None:
    waits: list[float] = []
    for streams in (False, True):
        budget = Budget(Timeouts(document=10, blob=90, idle=5), streams=streams, clock=Clock())
        budget.receive(lambda longest: waits.append(longest) or b"headers")
        budget.begin_body()
        budget.receive(lambda longest: waits.append(longest) or b"body")

    assert waits == [10, 5, 90, 5]


def test_one_wait_ends_with_the_deadline() -> None:
    clock = Clock()
    budget = Budget(Timeouts(document=10, idle=5), clock=clock)

    assert budget.remaining(5) == 5
    clock.now += 8
    assert budget.remaining(5) == 2


def test_a_blob_needs_a_least_rate_while_we_wait_for_the_server() -> None:
    clock = Clock()
    budget = Budget(Timeouts(blob=10, window=30, rate=100), streams=True, clock=clock)
    budget.begin_body()

    def slowly(_: float) -> bytes:
        clock.now += 1
        return b"x" * 99

    for _ in range(29):
        budget.receive(slowly)
    with pytest.raises(UnavailableError, match=r"2970 bytes in 30 s"):
        budget.receive(slowly)


def test_a_slow_disk_of_ours_is_not_the_servers_fault() -> None:
    clock = Clock()
    budget = Budget(Timeouts(blob=10, window=30, rate=100), streams=True, clock=clock)
    budget.begin_body()

    for _ in range(100):
        assert budget.receive(lambda _: b"x") == b"x"
        clock.now += 60
