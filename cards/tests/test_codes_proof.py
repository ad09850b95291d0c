"""Codes in numbers: a million drawn. `make codes-proof`; a smaller run of the same stands in the ordinary tests."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from cards import codes


def proof(drawn: int, checked: int) -> dict[str, float]:
    """Figures of `drawn` codes; errors and swaps are tried exhaustively on `checked` of them."""
    made = codes.make(drawn)
    counts = Counter()
    for column in range(codes.LENGTH):
        counts.update((column, symbol) for symbol in (code[column] for code in made))
    expected = drawn / 32
    worst = max(
        sum((counts[column, symbol] - expected) ** 2 / expected for symbol in codes.ALPHABET)
        for column in range(codes.LENGTH)
    )
    total = Counter("".join(made))
    overall = sum((count - expected * codes.LENGTH) ** 2 / (expected * codes.LENGTH) for count in total.values())
    errors = missed = swaps = swaps_missed = 0
    for code in random.sample(made, checked):
        for place in range(codes.LENGTH):
            for symbol in codes.ALPHABET.replace(code[place], ""):
                errors += 1
                missed += codes.is_valid(code[:place] + symbol + code[place + 1 :])
            if place and code[place] != code[place - 1]:
                swaps += 1
                swaps_missed += codes.is_valid(code[: place - 1] + code[place] + code[place - 1] + code[place + 1 :])
    return {
        "drawn": drawn,
        "duplicates": drawn - len(set(made)),
        "chi_squared_overall": round(overall, 1),
        "chi_squared_worst_column": round(worst, 1),
        "single_errors": errors,
        "single_errors_missed": missed,
        "swaps": swaps,
        "swaps_caught_percent": round(100 * (1 - swaps_missed / swaps), 3),
    }


def judge(figures: dict[str, float]) -> None:
    """31 degrees of freedom: 80 is passed once in 300,000 draws, 95 by the worst of 25 columns about as seldom."""
    assert figures["duplicates"] == 0
    assert figures["chi_squared_overall"] < 80
    assert figures["chi_squared_worst_column"] < 95
    assert figures["single_errors_missed"] == 0
    assert figures["swaps_caught_percent"] >= 99.5


def test_twenty_thousand() -> None:
    judge(proof(20_000, 5))


@pytest.mark.heavy
def test_a_million() -> None:
    figures = proof(1_000_000, 2000)
    print()
    for name, value in figures.items():
        print(f"{name:<26}{value:>14,}")
    judge(figures)


def test_a_check_symbol_that_checks_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative control."""
    monkeypatch.setattr(codes, "is_valid", lambda code: True)
    with pytest.raises(AssertionError):
        judge(proof(20_000, 1))
