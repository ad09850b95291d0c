"""Codes: random enough, checked enough, forgiving once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cards import codes

CODE = st.sampled_from(codes.make(50))
FULL_WIDTH = {chr(point): chr(point + 0xFEE0) for point in range(0x21, 0x7F)}


def test_a_hundred_thousand_codes_are_distinct_and_their_symbols_uniform() -> None:
    made = codes.make(100_000)
    assert len(set(made)) == 100_000
    counts = Counter("".join(made))
    assert set(counts) == set(codes.ALPHABET)
    expected = 25 * 100_000 / 32
    chi_squared = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi_squared < 80  # 31 degrees of freedom: beyond 80 once in 300,000 runs


def test_every_single_wrong_symbol_and_every_adjacent_swap_is_caught() -> None:
    for code in codes.make(20):
        for place in range(codes.LENGTH):
            for symbol in codes.ALPHABET:
                if symbol != code[place]:
                    assert not codes.is_valid(code[:place] + symbol + code[place + 1 :])
            if place and code[place] != code[place - 1]:
                assert not codes.is_valid(code[: place - 1] + code[place] + code[place - 1] + code[place + 1 :])


@given(CODE, st.data())
def test_every_accepted_spelling_gives_the_one_canonical_code(code: str, data: st.DataObject) -> None:
    spellings = {"0": "0Oo", "1": "1IilL"}
    typed = ""
    for symbol in code:
        typed += data.draw(st.sampled_from(["", "", "-", " ", "\u200b", "\u3000", "—"]))
        one = data.draw(st.sampled_from(spellings.get(symbol, symbol + symbol.lower())))
        typed += FULL_WIDTH[one] if data.draw(st.booleans()) else one
    assert codes.normalise(typed) == code


@given(st.text(max_size=60))
def test_anything_else_is_refused_without_repeating_it(text: str) -> None:
    caught: list[codes.BadCode] = []
    try:
        assert codes.is_valid(codes.normalise(text))
    except codes.BadCode as error:
        caught.append(error)
    assert all(error.kind in {"empty", "symbol", "length", "check"} for error in caught)
    assert all(len(text) < 10 or text not in str(error) for error in caught)


@pytest.mark.parametrize(
    ("text", "kind", "group"),
    [
        ("", "empty", None),
        (" - ", "empty", None),
        ("AAAAA-AAUAA", "symbol", 2),
        ("AAAAA", "length", None),
        ("0" * 500, "length", None),
    ],
)
def test_a_refusal_says_what_is_wrong(text: str, kind: str, group: int | None) -> None:
    with pytest.raises(codes.BadCode) as caught:
        codes.normalise(text)
    assert (caught.value.kind, caught.value.group) == (kind, group)


def test_printed_in_groups_of_five() -> None:
    assert codes.group("ABCDE" * 5) == "ABCDE-ABCDE-ABCDE-ABCDE-ABCDE"


@given(st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), max_size=80))
def test_a_foreign_code_has_one_normal_form_however_it_is_written(text: str) -> None:
    try:
        form = codes.foreign(text)
    except codes.BadCode:
        assume(False)
    assert codes.foreign(form) == codes.foreign(f" {text.lower()} \u200b") == form
    assert codes.canonical(codes.canonical(text)) == codes.canonical(text)


def test_foreign_letters_that_look_alike_stay_apart() -> None:
    assert codes.foreign("old-10io") == "OLD10IO"
    assert codes.foreign("０ＬＤ‐１０") == "0LD10"
    for text, kind in (("", "empty"), ("a" * 65, "length"), ("旧卡", "symbol")):
        with pytest.raises(codes.BadCode) as caught:
            codes.foreign(text)
        assert caught.value.kind == kind


@given(CODE)
def test_a_code_of_ours_is_read_as_ours_whatever_else_is_read(code: str) -> None:
    assert codes.canonical(codes.group(code).lower()) == code
    assert codes.group("OLD-10IO") == "OLD-10IO"
