from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.datasets.texts import Document
from harness.experiment.uses.windows import SHORTEST, between_words, strided

texts = st.text(alphabet="abc é中\n\t ", min_size=SHORTEST, max_size=900)


@given(texts, st.integers(80, 300))
def test_every_character_after_the_opening_is_predicted_once(text: str, size: int) -> None:
    windows = strided([Document("d", text)], size=size)
    kept = text.rstrip()
    if len(kept) < SHORTEST:
        assert not windows
        return
    predicted = "".join(window.rest for window in windows)
    assert kept.endswith(predicted)
    assert len(kept) - len(predicted) <= size // 4
    for window in windows:
        assert window.rest
        assert len(window.rest) <= size
        begin = kept.rindex(predicted)
        assert kept[:begin].endswith(window.context)
        predicted = predicted.removeprefix(window.rest)


def test_windows_part_between_words_and_the_context_ends_in_one() -> None:
    text = "the quick brown fox jumps over the lazy dog " * 40
    for window in strided([Document("d", text)], size=200):
        assert not window.context[-1].isspace()
        assert window.rest[0].isspace()
        assert len(window.context) <= 200


def test_a_word_longer_than_a_window_is_cut() -> None:
    assert between_words("x" * 500, 200, 0) == 200


def test_most_windows_of_a_document() -> None:
    documents = [Document(str(number), "some words to go on with " * 100) for number in range(3)]
    windows = strided(documents, size=200, most=2)
    assert [window.document for window in windows] == [0, 0, 1, 1, 2, 2]
