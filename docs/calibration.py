"""Draws calibration curves from models' cards, as SVG: ``python docs/calibration.py OUT.svg TITLE=CARD.json …``.

One panel per card: what a model said on average in each of ten bins of equal mass, against how often it came true.
Everything drawn stands in the card, so a picture can be made again from a data directory.
"""

import sys
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import msgspec

from scoring.model import CalibrationBin
from scoring.registry import Version

SIZE, MARGIN, HEAD = 300, 46, 30
COLOURS = {"boosting": "#1b6ca8", "logistic": "#d1603d", "rules": "#7a7a7a"}


def picture(panels: Sequence[tuple[str, Version]]) -> str:
    """The SVG document."""
    width, height = len(panels) * (SIZE + 2 * MARGIN), SIZE + 2 * MARGIN + HEAD
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for place, (title, version) in enumerate(panels):
        lines.append(f'<g transform="translate({place * (SIZE + 2 * MARGIN) + MARGIN},{MARGIN + HEAD})">')
        lines += [*_frame(title), *_curves(version), "</g>"]
    return "\n".join([*lines, "</svg>"]) + "\n"


def _frame(title: str) -> Iterator[str]:
    yield f'<text x="{SIZE / 2}" y="{-HEAD - 8}" text-anchor="middle" font-size="14">{escape(title)}</text>'
    yield f'<rect width="{SIZE}" height="{SIZE}" fill="none" stroke="#999"/>'
    yield f'<line x1="0" y1="{SIZE}" x2="{SIZE}" y2="0" stroke="#bbb" stroke-dasharray="4 4"/>'
    for tick in (0, 0.25, 0.5, 0.75, 1):
        at = tick * SIZE
        yield f'<text x="{at}" y="{SIZE + 16}" text-anchor="middle">{tick:g}</text>'
        yield f'<text x="-6" y="{SIZE - at + 4}" text-anchor="end">{tick:g}</text>'
    yield f'<text x="{SIZE / 2}" y="{SIZE + 34}" text-anchor="middle">said</text>'
    yield f'<text transform="translate(-32,{SIZE / 2}) rotate(-90)" text-anchor="middle">came true</text>'


def _curves(version: Version) -> Iterator[str]:
    contenders = [name for name in COLOURS if name in version.card.metrics]
    for row, name in enumerate(contenders):
        bins, colour = version.card.metrics[name].bins, COLOURS[name]
        points = [_point(each) for each in bins]
        if len(points) > 1:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points)
        kept = " (kept)" if name == version.card.estimator else ""
        yield f'<text x="{row * SIZE / 3}" y="-12" fill="{colour}">{name}{kept}</text>'


def _point(each: CalibrationBin) -> tuple[float, float]:
    return each.predicted * SIZE, (1 - each.observed) * SIZE


def main(arguments: Sequence[str]) -> None:
    out, *given = arguments
    panels = []
    for each in given:
        title, _, path = each.partition("=")
        panels.append((title, msgspec.json.decode(Path(path).read_bytes(), type=Version)))
    Path(out).write_text(picture(panels), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
