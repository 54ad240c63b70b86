"""A map of a fleet, a square a host, as an image that Markdown holds: a table of 500 hosts takes a browser minutes."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape

COLOURS: Mapping[str, str] = {
    "ready": "#2da44e", "failed": "#cf222e", "slow": "#bf8700", "missing": "#0969da", "unknown": "#6e7781",
}  # fmt: skip
"""A colour for each state of a host, in the order of the legend; all of them show on white and on black."""

_COLUMNS, _STEP, _SIZE = 50, 17, 15
_LABELS = 130  # width of the names at the left
_LETTER = 6.2
_LEGEND = 30


def fleet_map(hosts: Sequence[tuple[str, str]]) -> str:
    """Return the map of (name, state) as Markdown; before each row is the name of its first host."""
    rows = -(-len(hosts) // _COLUMNS)
    width, height = _LABELS + _COLUMNS * _STEP, _LEGEND + rows * _STEP
    counts = {state: sum(each == state for _, each in hosts) for state in COLOURS}
    box = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    style = 'font-family="monospace" font-size="11" fill="#848d97"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {box} {style}>']
    left = _LABELS
    for state, colour in COLOURS.items():
        text = f"{state} {counts[state]}"
        parts.append(f'<path fill="{colour}" d="{_square(left, 2)}"/><text x="{left + _STEP + 3}" y="14">{text}</text>')
        left += _STEP + 15 + int(len(text) * _LETTER)
    for row in range(rows):
        y = _LEGEND + row * _STEP + 11
        name = hosts[row * _COLUMNS][0]
        short = name if len(name) <= _LABELS // _LETTER - 1 else f"{name[:18]}…"
        parts.append(f'<text x="0" y="{y}">{escape(short)}</text>')
    for state, colour in COLOURS.items():
        squares = (_place(at) for at, (_, each) in enumerate(hosts) if each == state)
        parts.append(f'<path fill="{colour}" d="{"".join(_square(x, y) for x, y in squares)}"/>')
    image = b64encode("".join([*parts, "</svg>"]).encode()).decode()
    return f"![{', '.join(f'{count} {state}' for state, count in counts.items())}](data:image/svg+xml;base64,{image})"


def _place(at: int) -> tuple[int, int]:
    return _LABELS + at % _COLUMNS * _STEP, _LEGEND + at // _COLUMNS * _STEP


def _square(x: int, y: int) -> str:
    return f"M{x} {y}h{_SIZE}v{_SIZE}h-{_SIZE}z"
