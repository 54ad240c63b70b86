"""What a process writes becomes lines of a log: none lost, none broken, and what is left out is counted."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.runtime.output import CONTINUED, CONTINUES, STDERR, STDOUT, LastLines, Limits, OutputLog, escaped

MANY = Limits(10**9, 1 << 40)


def logged(pieces: list[bytes], limits: Limits = MANY, now: list[float] | None = None) -> tuple[list[str], list[str]]:
    lines: list[str] = []
    omitted: list[str] = []
    clock = now or [0.0]
    log = OutputLog(lines.append, omitted.append, limits, clock=lambda: clock[0])
    for piece in pieces:
        log(piece, STDOUT)
    log.close()
    return lines, omitted


@given(st.lists(st.text(st.characters(exclude_characters="\n\t", exclude_categories=["Cs"]))), st.integers(1, 9))
def test_any_text_in_any_pieces_comes_line_by_line(lines: list[str], width: int) -> None:
    raw = "".join(f"{line}\n" for line in lines).encode()

    found, omitted = logged([raw[at : at + width] for at in range(0, len(raw), width)])

    assert found == [escaped(line.encode()) for line in lines]
    assert all(line.isprintable() for line in found)
    assert omitted == []


@given(
    st.lists(st.text("ab", max_size=3), max_size=12),
    st.lists(st.text("xy", max_size=3), max_size=12),
    st.lists(st.tuples(st.sampled_from([STDOUT, STDERR]), st.integers(1, 5))),
)
def test_two_streams_mix_by_whole_lines(out: list[str], err: list[str], reads: list[tuple[int, int]]) -> None:
    raw = {number: "".join(f"{line}\n" for line in lines).encode() for number, lines in ((STDOUT, out), (STDERR, err))}
    everything = [*reads, (STDOUT, 99), (STDERR, 99)]
    lines: list[str] = []
    log, last = OutputLog(lines.append, lines.append, MANY), LastLines()

    for number, width in everything:
        piece, raw[number] = raw[number][:width], raw[number][width:]
        log(piece, number)
        last(piece, number)
    log.close()

    assert [line for line in lines if line and line < "x"] == list(filter(None, out))
    assert [line for line in lines if line >= "x"] == list(filter(None, err))
    assert len(lines) == len(out) + len(err)
    assert last.lines() == tuple(lines[-10:])


def test_a_line_without_an_end_is_the_last() -> None:
    last = LastLines()
    last(b"disk 17 is full", STDOUT)
    last(b"Traceback\n", STDERR)
    assert last.lines() == ("Traceback", "disk 17 is full")


@pytest.mark.parametrize("at", range(13))
def test_a_character_over_two_reads_is_whole(at: int) -> None:
    raw = "é€😀ü!".encode()

    assert logged([raw[:at], raw[at:]])[0] == ["é€😀ü!"]


def test_control_characters_and_bytes_that_are_no_text_are_escaped() -> None:
    assert logged([b"\x1b[31m\xff\x85\xc2\x85\r\t\\x1b\n"])[0] == ["\\x1b[31m\\xff\\x85\\u0085\\x0d\t\\x1b"]


@given(st.text(st.sampled_from("aé€😀"), max_size=300), st.integers(8, 40), st.integers(1, 50))
def test_a_long_line_is_split_between_characters_and_says_so(text: str, part: int, width: int) -> None:
    raw = text.encode() + b"\nnext\n"

    *parts, last = logged([raw[at : at + width] for at in range(0, len(raw), width)], Limits(10**9, 1 << 40, part))[0]

    assert last == "next"
    assert "".join(p.removeprefix(CONTINUED).removesuffix(CONTINUES) for p in parts) == text
    assert [p.endswith(CONTINUES) for p in parts] == [True] * (len(parts) - 1) + [False]


@pytest.mark.parametrize(
    "limits",
    [pytest.param(Limits(100, 1 << 40), id="rate"), pytest.param(Limits(10**9, 10_000), id="bytes")],
)
def test_what_is_left_out_is_counted_and_the_end_is_there(limits: Limits) -> None:
    numbers = [str(n) for n in range(1, 60001)]
    raw = "".join(f"{n}\n" for n in numbers).encode()

    lines, omitted = logged([raw[at : at + 65536] for at in range(0, len(raw), 65536)], limits)

    (account,) = omitted
    counted = re.match(r"(\d+) lines \((\d+) bytes\)", account)
    assert counted
    assert lines[:1000] == numbers[:1000]
    assert lines[-200:] == numbers[-200:]
    assert len(lines) + int(counted[1]) == len(numbers)
    assert sum(len(line) + 1 for line in lines) + int(counted[2]) == len(raw)


def test_what_was_held_comes_when_time_has_passed() -> None:
    lines: list[str] = []
    now = [0.0]
    log = OutputLog(lines.append, lines.append, Limits(10, 1 << 40), clock=lambda: now[0])
    log(b"x\n" * 150, STDOUT)
    held = len(lines)

    now[0] = 60.0
    log(b"", STDOUT)

    assert (held, len(lines)) == (100, 150)


def test_the_last_lines_are_bounded() -> None:
    last = LastLines()
    for number in range(5000):
        last(f"line {number}\n".encode(), STDOUT)
    assert last.lines() == tuple(f"line {number}" for number in range(4990, 5000))

    last(b"\x1b" * 10000, STDOUT)
    assert last.lines()[:-1] == tuple(f"line {number}" for number in range(4991, 5000))
    assert len(last.lines()[-1]) == 201
    assert LastLines().lines() == ()
