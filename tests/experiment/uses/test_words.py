from __future__ import annotations

from harness.experiment.uses.windows import Window
from harness.experiment.uses.words import CHOICES, gaps_of, hits, last_words


def spans(text: str) -> list[str]:
    return [text[first:last] for first, last in last_words(text)]


def test_last_words_end_a_clause_once_three_words_were_given() -> None:
    text = " The old red barn. Two! It held, in version 2.5, a naïve owl’s egg; “and then a cow.”"
    assert spans(text) == ["barn", "Two", "egg", "cow"]


def test_a_hit_needs_every_token_of_the_word_and_its_end() -> None:
    text = " He went right inside."
    words = [b" He", b" went", b" right", b" in", b"side", b"."]
    ranks = [5, 5, 5, 0, 0, 3]
    assert spans(text) == ["inside"]
    assert hits(words, ranks, [b"x"] * 5 + [b","]) == [True]
    # The model goes on with the word: it did not mean this one.
    assert hits(words, ranks, [b"x"] * 5 + [b"rs"]) == [False]
    assert hits(words, [5, 5, 5, 0, 1, 0], [b"x"] * 5 + [b"."]) == [False]
    # However the vocabulary splits it.
    whole = [b" He went", b" right inside", b"."]
    assert hits(whole, [7, 0, 9], [b"x", b"x", b"!"]) == [True]
    # A token that holds the full stop too has said where the word ends.
    assert hits([b" He went", b" right", b" inside."], [7, 4, 0], [b"x", b"x", b"x"]) == [True]


def test_a_gap_offers_the_right_word_and_three_others_from_the_texts() -> None:
    ends = ["barn", "river", "mountain", "village", "harbour"]
    windows = [
        Window(n, "Before it.", f" There stood a {word}. Now") for n, word in enumerate(ends)
    ]
    gaps = gaps_of(windows, range(5), seed=0)
    assert [gap.words[0] for gap in gaps] == ends
    for gap in gaps:
        assert len(set(gap.words)) == CHOICES
        assert set(gap.words) <= set(ends)
        assert (gap.before, gap.after) == (" There stood a ", ".")
    assert gaps_of(windows[:3], range(3), seed=0) == ()
    assert gaps_of(windows, range(5), seed=1) != gaps
