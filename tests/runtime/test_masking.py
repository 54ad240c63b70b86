"""What is recorded of a container's output has a mask in the place of each value, however it is written and read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.runtime.masking import LEAST_BYTES, MASK, Masked
from prestow.runtime.output import STDERR, STDOUT, LastLines, Limits, OutputLog, tee


def recorded(pieces: list[bytes], *values: str, number: int = STDOUT) -> bytes:
    found: list[bytes] = []
    masked = Masked(lambda piece, _: found.append(piece), values)
    for piece in pieces:
        masked(piece, number)
    masked.close()
    return b"".join(found)


def as_a_whole(raw: bytes, values: list[str]) -> bytes:
    """Mask what is there at once, byte by byte."""
    found, at = b"", 0
    spans = [(n, n + len(v)) for v in map(str.encode, values) for n in range(len(raw)) if raw.startswith(v, n)]
    for first, last in sorted(spans):
        found += raw[at:first] + MASK.encode() * (first >= at)
        at = max(at, last)
    return found + raw[at:]


TEXT = st.text("ab\n", max_size=60)
VALUES = st.lists(st.text("ab", min_size=LEAST_BYTES, max_size=12), max_size=4)


@given(TEXT, VALUES, st.integers(1, 9))
def test_values_are_masked_over_any_reads_and_nothing_else_is(text: str, values: list[str], width: int) -> None:
    raw = text.encode()
    pieces = [raw[at : at + width] for at in range(0, len(raw), width)]

    assert recorded(pieces, *values) == as_a_whole(raw, values)


@given(TEXT, st.text("ab", min_size=LEAST_BYTES, max_size=8), st.lists(st.integers(1, 5), max_size=30))
def test_streams_are_masked_each_by_itself(text: str, value: str, widths: list[int]) -> None:
    left = {STDOUT: text.encode(), STDERR: text.encode()[::-1]}
    found = {STDOUT: b"", STDERR: b""}

    def take(piece: bytes, number: int) -> None:
        found[number] += piece

    masked = Masked(take, [value])
    for turn, width in enumerate([*widths, 99, 99]):
        number = (STDOUT, STDERR)[turn % 2]
        piece, left[number] = left[number][:width], left[number][width:]
        masked(piece, number)
    masked.close()

    assert found == {STDOUT: as_a_whole(text.encode(), [value]), STDERR: as_a_whole(text.encode()[::-1], [value])}


@pytest.mark.parametrize(
    ("value", "said", "shown"),
    [
        ("first\nsecond\n", "first\nsecond\n", f"{MASK}\n{MASK}\n"),
        ("first\nsecond", "1: first; 2: second", f"1: {MASK}; 2: {MASK}"),
        ("first\r\nsecond", "first\r\nsecond\r\n", f"{MASK}\r\n{MASK}\r\n"),
        ("{\n  whole\n}", "{ whole }", f"{{ {MASK} }}"),
        (" padded ", "padded. padded .", f"{MASK}. {MASK} ."),
        ("\x1b[31mred", "a \x1b[31mred\n", f"a {MASK}\n"),
        ("grün", "grün\n", f"{MASK}\n"),
        ("abc", "abcabc", "abcabc"),
        ("", "text", "text"),
        ("\n\n", "text\n\n", "text\n\n"),
        ("éé", "éé", MASK),
    ],
)
def test_each_line_of_a_value_is_masked_if_it_is_long_enough(value: str, said: str, shown: str) -> None:
    assert recorded([said.encode()], value) == shown.encode()


def test_bytes_that_are_no_text_stay_around_a_mask() -> None:
    assert recorded([b"\xffsec", b"ret\xfe\xc3"], "secret") == b"\xff" + MASK.encode() + b"\xfe\xc3"


def test_what_is_masked_is_cut_and_escaped_afterwards() -> None:
    lines: list[str] = []
    last = LastLines()
    log = OutputLog(lines.append, lines.append, Limits(10**9, 1 << 40, part_bytes=16))
    masked = Masked(tee(log, last), ["it is\x07secret"])
    for piece in (b"0123456789it is", b"\x07secret" + b"." * 300, b"\nit is\x07sec", b"ret"):
        masked(piece, STDOUT)
    masked.close()
    log.close()

    said = "".join(line.removeprefix("[continued] ").removesuffix(" [line continues]") for line in lines)
    assert said == f"0123456789{MASK}{'.' * 300}{MASK}"
    assert last.lines() == (f"0123456789{MASK}{'.' * 182}…", MASK)


def test_no_more_is_kept_back_than_a_value_may_have_begun_in() -> None:
    found: list[bytes] = []
    masked = Masked(lambda piece, _: found.append(piece), ["x" * 10])

    for _ in range(1000):
        masked(b"x" * 7, STDOUT)
    assert len(b"".join(found)) == len(MASK)  # of a mask that goes on, and has no end yet

    masked(b"." * 20, STDOUT)
    assert b"".join(found) == MASK.encode() + b"." * 11
