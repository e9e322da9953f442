"""A line chart as plain SVG: what a page or a ticket shows without any library."""

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 150, 40, 50
_COLOURS = ("#1b6ca8", "#c2571a", "#2e7d4f", "#8a3fa0", "#a08a1b", "#555555")


def line_chart(title: str, x_label: str, x_names: Sequence[str], lines: Mapping[str, Sequence[float]]) -> str:
    """One line for each entry of `lines`, its values shares from 0 to 1, one for each of `x_names`."""
    plot_width, plot_height = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    step = plot_width / max(1, len(x_names) - 1)

    def x(index: int) -> float:
        return _LEFT + index * step

    def y(share: float) -> float:
        return _TOP + plot_height * (1 - min(1.0, max(0.0, share)))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="15">{escape(title)}</text>',
    ]
    for percent in range(0, 101, 20):
        level = y(percent / 100)
        parts.append(
            f'<line x1="{_LEFT}" y1="{level:.1f}" x2="{WIDTH - _RIGHT}" y2="{level:.1f}" stroke="#dddddd"/>'
            f'<text x="{_LEFT - 8}" y="{level + 4:.1f}" text-anchor="end">{percent} %</text>'
        )
    for index, name in enumerate(x_names):
        parts.append(f'<text x="{x(index):.1f}" y="{HEIGHT - 30}" text-anchor="middle">{escape(name)}</text>')
    middle = _LEFT + plot_width / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x_label)}</text>')
    for number, (name, shares) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{x(index):.1f},{y(share):.1f}" for index, share in enumerate(shares))
        legend = _TOP + 18 * number
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [
            f'<circle cx="{x(index):.1f}" cy="{y(share):.1f}" r="3" fill="{colour}"/>'
            for index, share in enumerate(shares)
        ]
        parts.append(
            f'<rect x="{WIDTH - _RIGHT + 15}" y="{legend}" width="12" height="12" fill="{colour}"/>'
            f'<text x="{WIDTH - _RIGHT + 33}" y="{legend + 10}">{escape(name)}</text>'
        )
    return "\n".join((*parts, "</svg>", ""))
