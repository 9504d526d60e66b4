"""Which language a text is in: langdetect's answer with its seed fixed at 0.

The profiles, the features and the arithmetic are langdetect 1.0.9's (Nakatani 2010), draw for
draw, so that verdicts agree with published ones; the loops are our own, because langdetect's are
most of the time a suite takes. Each distinct text is judged once.
"""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_SEED = 0
_TRIALS = 7
_ALPHA, _ALPHA_WIDTH = 0.5, 0.05
_BASE_FREQUENCY = 10_000
_CONVERGED, _ITERATIONS, _EVERY = 0.99999, 1000, 5
_LEAST_PROBABILITY = 0.1
_CHARACTERS = 10_000
_WORD_LENGTH, _WORDS = 24, 50_000  # what is remembered of words: short ones, so many

_LATIN = re.compile("[A-z]")
_NOT_LATIN = re.compile("[\u0300-\u1dff\u1f00-\U0010ffff]")
_SPACES = re.compile("  +")

_LOCK = threading.Lock()
_KNOWN: dict[bytes, str | None] = {}
_KNOWN_LIMIT = 200_000


def detect_language(text: str) -> str | None:
    """ISO 639-1 code (``zh-cn``/``zh-tw`` for Chinese) or None when the text has no features.

    Threads may call it at once. Raises ImportError when langdetect is not installed.
    """
    key = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    with _LOCK:  # one at a time: the profiles load once, and no text is judged twice
        if key not in _KNOWN:
            if len(_KNOWN) >= _KNOWN_LIMIT:
                _KNOWN.clear()
            _KNOWN[key] = _detect(text)
        return _KNOWN[key]


@dataclass(frozen=True)
class _Model:
    """langdetect's profiles: ``probabilities[rows[ngram], language]`` for n-grams of 1 to 3."""

    languages: list[str]
    rows: dict[str, int]
    probabilities: NDArray[np.float64]
    normal: Any
    cleaners: tuple[Any, Any, Any]
    words: dict[str, list[int]]


class _Normal(dict[int, str]):
    """langdetect's one-to-one character normalisation, as a table for ``str.translate``."""

    def __init__(self, normalize: Any) -> None:
        super().__init__()
        self._normalize = normalize

    def __missing__(self, code: int) -> str:
        self[code] = str(self._normalize(chr(code)))
        return self[code]


@lru_cache(maxsize=1)
def _model() -> _Model:
    from langdetect.detector import Detector
    from langdetect.detector_factory import PROFILES_DIRECTORY, DetectorFactory
    from langdetect.utils.ngram import NGram

    # By name: the order of a folder listing, which langdetect takes, differs between machines.
    profiles = sorted(path for path in Path(PROFILES_DIRECTORY).iterdir() if path.is_file())
    factory = DetectorFactory()
    factory.load_json_profile([path.read_text(encoding="utf-8") for path in profiles])
    table = factory.word_lang_prob_map
    return _Model(
        list(factory.langlist),
        {ngram: row for row, ngram in enumerate(table)},
        np.array(list(table.values()), dtype=np.float64),
        _Normal(NGram.normalize),
        (Detector.URL_RE, Detector.MAIL_RE, NGram.normalize_vi),
        {},
    )


def known_languages() -> frozenset[str] | None:
    """The codes that can be told apart; None where langdetect is not installed."""
    try:
        from langdetect.detector_factory import PROFILES_DIRECTORY
    except ImportError:
        return None
    return frozenset(path.name for path in Path(PROFILES_DIRECTORY).iterdir() if path.is_file())


def _detect(text: str) -> str | None:
    model = _model()
    rows = _features(_cleaned(text, model), model)
    if not rows:
        return None
    probabilities = _language_probabilities(rows, model)
    best = int(probabilities.argmax())
    return model.languages[best] if probabilities[best] > _LEAST_PROBABILITY else "unknown"


def _cleaned(text: str, model: _Model) -> str:
    """The first 10,000 characters, without addresses, and without Latin beside more of another."""
    urls, mails, vietnamese = model.cleaners
    if "://" in text:
        text = urls.sub(" ", text)
    if "@" in text:
        text = mails.sub(" ", text)
    if not text.isascii():
        text = vietnamese(text)
    text = _SPACES.sub(" ", text[:_CHARACTERS])
    if not text.isascii() and 2 * len(_LATIN.findall(text)) < len(_NOT_LATIN.findall(text)):
        text = _LATIN.sub("", text)
    return text


def _features(text: str, model: _Model) -> list[int]:
    """Rows of the n-grams of 1 to 3 characters, in order; none inside words in capitals.

    A word's n-grams begin at the space before it and end at the space behind it, so they depend
    on the word alone and are remembered.
    """
    *words, last = text.translate(model.normal).split(" ")
    found: list[int] = []
    for word in words:
        if word:
            known = model.words.get(word)
            if known is None:
                known = _word_features(f"{word} ", model)
                if len(word) <= _WORD_LENGTH and len(model.words) < _WORDS:
                    model.words[word] = known
            found += known
    return found + _word_features(last, model)


def _word_features(word: str, model: _Model) -> list[int]:
    find = model.rows.get
    found = []
    before, last, last_upper = "", " ", False
    for character in word:
        upper = character.isupper()
        if not (upper and last_upper):
            if character != " ":
                found.append(find(character))
            found.append(find(last + character))
            if before:
                found.append(find(before + last + character))
        before, last, last_upper = last, character, upper
    return [row for row in found if row is not None]


def _language_probabilities(rows: list[int], model: _Model) -> NDArray[np.float64]:
    """Mean posterior over seven trials of n-grams drawn until one language is certain."""
    table, count = model.probabilities, len(model.languages)
    mean = np.zeros(count)
    generator = random.Random(_SEED)
    getrandbits, total_rows, bits = generator.getrandbits, len(rows), len(rows).bit_length()
    work = np.empty((1 + _EVERY, count))  # the posterior, then a factor per n-gram drawn
    for _ in range(_TRIALS):
        weight = (_ALPHA + generator.gauss(0.0, 1.0) * _ALPHA_WIDTH) / _BASE_FREQUENCY
        posterior = np.full(count, 1.0 / count)
        drawn, step = 1, 0
        while True:
            work[0] = posterior
            factors = work[1 : 1 + drawn]
            picked: list[int] = []
            while len(picked) < drawn:  # what Random.choice does, without its two calls a draw
                at = getrandbits(bits)
                if at < total_rows:
                    picked.append(rows[at])
            table.take(picked, axis=0, out=factors, mode="clip")
            factors += weight
            # Reducing over rows multiplies one after the other: langdetect's order of rounding.
            np.multiply.reduce(work[: 1 + drawn], axis=0, out=posterior)
            values = posterior.tolist()
            total = sum(values)
            posterior /= total
            if max(values) / total > _CONVERGED or step >= _ITERATIONS:
                break
            drawn, step = _EVERY, step + _EVERY
        mean += posterior / _TRIALS
    return mean
