"""The health of a generated text: run-on, echo, loops, repetition, stray scripts; and its views.

None of these is a verdict; reports show their means per condition. All are linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from harness.records import Generation

_FINISH = ("eos", "stop", "length", "loop", "failed")
_WINDOW = 20_000
"""Characters of a text that echo and loop look at (the first, and the last)."""

_LOOP_TIMES = 3
_LOOP_CHARACTERS = 24  # shorter tails ("!!!!", "......") are style, not loops
_FOREIGN_SHARE = 0.1
_NGRAM = 4

# Where a model that was to answer begins somebody else's turn: the headings of the shipped
# strategies and the markers of common chat formats, at the beginning of a line.
_TURN = re.compile(
    r"^[ \t]*(?:"
    r"(?:user|human|question|q|instruction|input|system|student|exercise)[ \t]*:"
    r"|\#{1,4}[ \t]*(?:query|user|human|question|instruction|input|system)\b"
    r"|\[/?INST\]|<\|(?:im_start|user|start_header_id|start_of_turn)\|?>|<start_of_turn>"
    r")",
    re.IGNORECASE | re.MULTILINE,
)


def first_turn(text: str) -> str:
    """The text up to the first line that begins another speaker's turn."""
    match = _TURN.search(text)
    return text[: match.start()].rstrip() if match else text


def views(generation: Generation) -> dict[str, str]:
    """The three texts a generation can be scored by.

    ``untrimmed``: everything that was generated; ``stop_trimmed``: up to the first stop string,
    the scored view; ``first_turn``: that, up to the first invented turn.
    """
    return {
        "untrimmed": generation.text,
        "stop_trimmed": generation.answer,
        "first_turn": first_turn(generation.answer),
    }


def health(
    prompt: str,
    text: str,
    answer: str,
    finish_reason: str,
    *,
    wants_language: str | None,
    stops: Sequence[str] = (),
) -> dict[str, float]:
    """Numbers on one generation, each a share or a 0/1 flag unless its name says otherwise.

    ``prompt`` is what the user asked, ``text`` everything that was generated, ``answer`` the
    stop-trimmed view. ``wants_language`` is the language the item asks for, None for no wish:
    with one, ``script_switch`` is left out. ``compression`` is UTF-8 bytes per zlib byte.
    ``stops`` are the strategy's stop strings: those that are headings at a line's beginning tell
    another speaker's turn too.
    """
    words = answer.lower().split()
    found = {f"finish_{reason}": float(finish_reason == reason) for reason in _FINISH}
    found |= {
        "run_on": float(_TURN.search(text) is not None or _has_heading(text, stops)),
        "invented_turn": float(_TURN.search(answer) is not None),
        "echo": echo_share(prompt, answer),
        "loop": float(tail_period(text) is not None),
        "distinct_1": _distinct(words, 1),
        "distinct_2": _distinct(words, 2),
        "repeated_4gram": _repeated(words, _NGRAM),
        "compression": _compression(answer),
        "characters": float(len(answer)),
        "words": float(len(words)),
    }
    if wants_language is None:
        found["script_switch"] = float(switches_script(prompt, answer))
    return found


def _has_heading(text: str, stops: Sequence[str]) -> bool:
    """Whether one of the stop strings that are headings (``\\n``, then words) occurs."""
    return any(stop in text for stop in stops if stop.startswith("\n") and re.search(r"\w", stop))


def echo_share(prompt: str, answer: str) -> float:
    """Length of the longest substring of the answer that stands in the prompt / answer length."""
    prompt, answer = prompt[:_WINDOW], answer[:_WINDOW]
    if not answer or not prompt:
        return 0.0
    return _longest_common(prompt, answer) / len(answer)


def _longest_common(prompt: str, answer: str) -> int:
    """Length of the longest common substring: from each place on, is there a longer one?"""
    longest = 0
    for start in range(len(answer)):
        while start + longest < len(answer) and answer[start : start + longest + 1] in prompt:
            longest += 1
    return longest


def tail_period(text: str) -> int | None:
    """The period, in characters, that the text's tail repeats at least three times; else None.

    The repeated tail has to be 24 characters long.
    """
    tail = text.rstrip()[-_WINDOW:][::-1]
    for period in range(1, len(tail) // _LOOP_TIMES + 1):
        span = max(_LOOP_TIMES * period, _LOOP_CHARACTERS)
        if span <= len(tail) and tail[period:span] == tail[: span - period]:
            return period
    return None


def _ngrams(words: list[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(n)), strict=False))


def _distinct(words: list[str], n: int) -> float:
    """Different n-grams / n-grams (Li et al. 2016); 1 when there is none."""
    grams = _ngrams(words, n)
    return len(set(grams)) / len(grams) if grams else 1.0


def _repeated(words: list[str], n: int) -> float:
    """Share of n-grams that occur more than once."""
    counts = Counter(_ngrams(words, n))
    total = sum(counts.values())
    return sum(count for count in counts.values() if count > 1) / total if total else 0.0


def _compression(text: str) -> float:
    data = text.encode("utf-8", "surrogatepass")
    return len(data) / len(zlib.compress(data, 6)) if data else 1.0


def switches_script(prompt: str, answer: str) -> bool:
    """Whether a tenth of the answer's letters is in scripts that the prompt does not use."""
    at_home = {_script(character) for character in prompt}
    scripts = Counter(_script(character) for character in answer)
    del scripts[""]
    foreign = sum(count for script, count in scripts.items() if script not in at_home)
    return foreign > _FOREIGN_SHARE * max(1, sum(scripts.values()))


@lru_cache(maxsize=65_536)
def _script(character: str) -> str:
    """The first word of a letter's Unicode name (LATIN, CYRILLIC, ...); "" for anything else.

    Japanese mixes three scripts in one word, so kana count as CJK.
    """
    if not character.isalpha():
        return ""
    name = unicodedata.name(character, "").split(" ")[0]
    return "CJK" if name in {"HIRAGANA", "KATAKANA", "CJK", "KATAKANA-HIRAGANA"} else name
