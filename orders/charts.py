"""Bars as geometry for an inline SVG: no script, no style attribute; each bar says its number on hover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

WIDTH, HEIGHT = 720, 160
TOP, GAP = 8, 0.25
MOST_TICKS = 7

Number = int | Decimal


@dataclass(frozen=True)
class Bar:
    x: str
    y: str
    width: str
    height: str
    series: int
    text: str


@dataclass(frozen=True)
class Chart:
    bars: list[Bar]
    ticks: list[str]  # evenly spaced, the first and the last among them
    top: Number

    width = WIDTH
    height = HEIGHT
    base = HEIGHT

    @property
    def empty(self) -> bool:
        return not self.top


def bar_chart(
    labels: Sequence[str], series: Sequence[tuple[Any, Sequence[Number]]], *, show: Any = "{:,}".format
) -> Chart:
    """Groups of bars, one group a label; `series` is [(name, numbers)]."""
    top = max((number for _name, numbers in series for number in numbers), default=0)
    group = WIDTH / max(len(labels), 1)
    wide = group * (1 - GAP) / max(len(series), 1)
    bars = []
    for place, label in enumerate(labels):
        for index, (name, numbers) in enumerate(series):
            high = float(numbers[place]) / float(top or 1) * (HEIGHT - TOP)
            left = place * group + group * GAP / 2 + index * wide
            text = f"{label}: {show(numbers[place])} {name}".strip()
            tall = max(high, 1.5) if numbers[place] else 0.0
            bars.append(Bar(f"{left:.1f}", f"{HEIGHT - tall:.1f}", f"{wide:.1f}", f"{tall:.1f}", index, text))
    return Chart(bars, _spread(labels), top)


def _spread(labels: Sequence[str]) -> list[str]:
    """At most seven of the labels, evenly spaced, first and last included."""
    last, gaps = len(labels) - 1, MOST_TICKS - 1
    if last < gaps:
        return list(labels)
    return [labels[round(place * last / gaps)] for place in range(MOST_TICKS)]
