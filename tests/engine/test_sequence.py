from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.endings import is_loop
from harness.engine.sequence import Job, Sequence
from harness.records import Sampling


def decoded(
    text: bytes,
    *,
    stops: tuple[str, ...] = (),
    max_tokens: int = 100,
    overrun: int = 0,
    line_start: bool = True,
    end: bool = True,
    size: int = 1,
) -> Sequence:
    """A sequence fed with ``text`` in pieces of ``size`` bytes, then an end-of-generation token."""
    sampling = Sampling(max_tokens=max_tokens, overrun=overrun)
    sequence = Sequence(
        Job(key="k", tokens=(1,), sampling=sampling, stops=stops, line_start=line_start)
    )
    for start in range(0, len(text), size):
        if sequence.finish is None:
            piece = text[start : start + size]
            sequence.accept(piece[0], piece, end=False)
    if end and sequence.finish is None:
        sequence.accept(257, b"", end=True)
    return sequence


def test_generation_halts_at_the_first_stop_string_and_the_answer_excludes_it() -> None:
    sequence = decoded(b"Paris.\nQuestion: and Rome?", stops=("\nQuestion:", "Rome"))
    assert sequence.finish == "stop"
    assert bytes(sequence.text) == b"Paris.\nQuestion:"
    assert sequence.answer() == b"Paris."


def test_an_overrun_goes_on_past_the_stop_and_keeps_the_answer() -> None:
    sequence = decoded(b"Paris.\nQ: and Rome? And Bonn?", stops=("\nQ:",), overrun=5)
    assert bytes(sequence.text) == b"Paris.\nQ: and "
    assert sequence.answer() == b"Paris."
    assert sequence.finish == "stop"


def test_a_stop_found_at_the_last_token_still_overruns() -> None:
    sequence = decoded(b"abX" + b"y" * 10, stops=("X",), max_tokens=3, overrun=4)
    assert (bytes(sequence.text), sequence.finish) == (b"abXyyyy", "stop")


def test_end_of_generation_during_the_overrun_leaves_the_reason_at_stop() -> None:
    sequence = decoded(b"abXy", stops=("X",), overrun=50)
    assert (bytes(sequence.text), sequence.finish) == (b"abXy", "stop")


def test_end_of_generation_counts_as_a_token_and_has_no_text() -> None:
    sequence = decoded(b"ab")
    assert (sequence.finish, len(sequence.tokens), bytes(sequence.text)) == ("eos", 3, b"ab")


def test_a_line_anchored_stop_also_stops_an_answer_that_opens_with_it() -> None:
    assert decoded(b"Question: what?", stops=("\nQuestion:",)).answer() == b""
    assert decoded(b"A Question: what?", stops=("\nQuestion:",)).finish == "eos"


def test_a_prefilled_answer_does_not_open_at_a_line_start() -> None:
    sequence = decoded(b"Question: what?", stops=("\nQuestion:",), line_start=False)
    assert sequence.finish == "eos"


@pytest.mark.parametrize("stop", ["\n", "\n\n"])
def test_a_stop_of_newlines_only_needs_all_of_them(stop: str) -> None:
    assert decoded(b"Paris", stops=(stop,)).finish == "eos"
    assert decoded(("Paris" + stop + "x").encode(), stops=(stop,)).answer() == b"Paris"


def test_a_stop_string_is_found_across_pieces_and_inside_one() -> None:
    for size in range(1, 30):
        sequence = decoded(b"one two END three", stops=("END",), size=size)
        assert sequence.answer() == b"one two ", size


def test_stops_match_bytes_that_are_not_characters_yet() -> None:
    sequence = decoded("caf\u00e9 \u20ac5".encode(), stops=("\u20ac",), size=1)
    assert sequence.answer().decode() == "caf\u00e9 "


def test_a_limit_hit_in_a_periodic_tail_is_a_loop() -> None:
    assert decoded(b"start " + b"abc " * 40, max_tokens=90, end=False).finish == "loop"
    assert decoded(bytes(range(32, 122)), max_tokens=90, end=False).finish == "length"
    assert decoded(b"ha" * 8, max_tokens=16, end=False).finish == "length", "too short to tell"


@given(st.lists(st.integers(0, 3), max_size=80))
def test_a_loop_has_at_least_four_equal_periods_over_thirty_two_tokens(tokens: list[int]) -> None:
    def slow() -> bool:
        for period in range(1, len(tokens) // 4 + 1):
            tail = tokens[-max(32, 4 * period) :]
            if len(tail) >= max(32, 4 * period) and all(
                tail[i] == tail[i - period] for i in range(period, len(tail))
            ):
                return True
        return False

    assert is_loop(tokens) == slow()


@given(st.text(max_size=40), st.integers(1, 7))
def test_what_is_shown_while_decoding_adds_up_to_the_answer(text: str, size: int) -> None:
    stops = ("\nQ:", "END")
    data = text.encode("utf-8")
    sequence = Sequence(Job("k", (1,), Sampling(max_tokens=1000), stops=stops))
    shown = ""
    for start in range(0, len(data), size):
        if sequence.finish is None:
            sequence.accept(1, data[start : start + size], end=False)
            shown += sequence.take_shown()
    if sequence.finish is None:
        sequence.accept(257, b"", end=True)
        shown += sequence.take_shown()
    assert shown == sequence.answer().decode("utf-8", "replace")


def test_a_possible_stop_is_not_shown_before_it_is_decided() -> None:
    sequence = Sequence(Job("k", (1,), Sampling(), stops=("END",)))
    sequence.accept(1, b"the EN", end=False)
    assert sequence.take_shown() == "the "
    sequence.accept(1, b"TRY", end=False)
    assert sequence.take_shown() == "ENTRY"
