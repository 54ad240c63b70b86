"""The layout of bars: figures whole, subjects cut, no line beyond the edge."""

from hypothesis import given
from hypothesis import strategies as st

from flows.cli.bars import Layout, Row

FIGURES = "3.0/40.0 MiB, 1.5 MiB/s, 25 s left"
DIGEST = "fetch layer sha256:0123456789ab"
ROWS = [Row("layers 1/4", 0.5, FIGURES), Row(DIGEST, 0.25, "waits 9 s"), Row("commit snapshots", None, "")]

rows = st.lists(
    st.builds(
        Row, st.text("abc/: ", max_size=70), st.none() | st.floats(-1, 2), st.sampled_from([FIGURES, "9/9 B", ""])
    ),
    max_size=10,
)


def test_a_wide_terminal_has_subject_bar_and_figures() -> None:
    assert Layout().lines(ROWS, 89) == [
        f"layers 1/4                       {'━' * 9}{'─' * 9}  {FIGURES}",
        f"{DIGEST}  {'━' * 4}{'─' * 14}  waits 9 s",
        "commit snapshots",
    ]


def test_a_narrow_terminal_has_no_bar_and_a_narrower_one_cuts_the_subject_and_never_the_figures() -> None:
    assert Layout().lines(ROWS, 70)[0] == f"{'layers 1/4'.ljust(31)}  {FIGURES}"
    assert Layout().lines(ROWS, 52) == [f"layers 1/4      {FIGURES}", "…:0123456789ab  waits 9 s", "commit snapshots"]
    assert Layout().lines(ROWS, 38)[0] == FIGURES
    assert Layout().lines(ROWS, 30)[0] == "3.0/40.0 MiB, 1.5 MiB/s"


def test_a_terminal_of_ascii_gets_ascii() -> None:
    for width in (100, 50):
        assert "".join(Layout(ascii_only=True).lines(ROWS, width)).isascii()


def test_a_bar_keeps_its_length_when_figures_become_shorter() -> None:
    layout = Layout()
    before, after = (
        layout.lines([Row(DIGEST, 1.0, figures)], 80)[0].count("━") for figures in (FIGURES, "40.0/40.0 MiB")
    )

    assert before == after > 0


@given(rows, st.integers(1, 200), st.booleans())
def test_no_line_reaches_the_last_two_columns(found: list[Row], width: int, ascii_only: bool) -> None:  # noqa: FBT001 - drawn
    lines = Layout(ascii_only=ascii_only).lines(found, width)

    assert len(lines) == len(found)
    assert all(len(line) <= max(0, width - 2) for line in lines)
    if width - 2 >= len(FIGURES):
        assert all(line.endswith(row.figures) for line, row in zip(lines, found, strict=True))
