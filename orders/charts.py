"""Bars as geometry for an inline SVG: no script, no style attribute; each bar says its number on hover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

WIDTH, HEIGHT = 720, 180
TOP, BOTTOM, GAP = 8, 22, 0.25

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
class Tick:
    x: str
    label: str


@dataclass(frozen=True)
class Chart:
    bars: list[Bar]
    ticks: list[Tick]
    top: Number

    width = WIDTH
    height = HEIGHT
    base = HEIGHT - BOTTOM
    tick_y = HEIGHT - 6

    @property
    def empty(self) -> bool:
        return not self.top


def bar_chart(
    labels: Sequence[str], series: Sequence[tuple[Any, Sequence[Number]]], *, show: Any = "{:,}".format, every: int = 1
) -> Chart:
    """Groups of bars, one group a label; `series` is [(name, numbers)], `every` how often a label is written."""
    top = max((number for _name, numbers in series for number in numbers), default=0)
    group = WIDTH / max(len(labels), 1)
    wide = group * (1 - GAP) / max(len(series), 1)
    bars = []
    for place, label in enumerate(labels):
        for index, (name, numbers) in enumerate(series):
            high = float(numbers[place]) / float(top or 1) * (HEIGHT - TOP - BOTTOM)
            left = place * group + group * GAP / 2 + index * wide
            text = f"{label}: {show(numbers[place])} {name}".strip()
            tall = max(high, 1.5) if numbers[place] else 0.0
            bars.append(Bar(f"{left:.1f}", f"{HEIGHT - BOTTOM - tall:.1f}", f"{wide:.1f}", f"{tall:.1f}", index, text))
    ticks = [Tick(f"{(place + 0.5) * group:.1f}", label) for place, label in enumerate(labels) if place % every == 0]
    return Chart(bars, ticks, top)
