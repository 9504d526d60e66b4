"""When a beginning settles the verdicts of IFBench's types; those that are missing need it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from harness.checks.published.ifbench import EDGES, unpunctuated
from harness.checks.published.ifbench_format import (
    _NUMBER,
    _SIMPLE,
    parentheses,
    quotes,
)
from harness.checks.published.ifbench_words import (
    _CLUSTER,
    _CONJUNCTIONS,
    _DIGITS,
    _JAPANESE,
    _NAME,
    _PRIMES,
    _TIMES,
    alphabet,
    no_consecutive,
)
from harness.checks.registry import Context, Outcome, decides
from harness.checks.settled.parts import complete, counted, steady_lower
from harness.checks.text.plain import Text


@decides("count:word_count_range")
def word_count_range(context: Context, *, min_words: int, max_words: int) -> bool | None:
    """Words only become more."""
    return counted(len(context.derived.words), at_most=max_words)


@decides("count:unique_word_count")
def unique_word_count(context: Context, *, N: int) -> bool | None:
    """Complete different words only become more."""
    words = complete(context.text).lower().split()
    return counted(len({word.strip(EDGES) for word in words}), at_least=N)


@decides("count:conjunctions")
def conjunctions(context: Context, *, small_n: int) -> bool | None:
    """Complete different conjunctions only become more."""
    words = set(complete(context.text).split())
    found = sum(word.strip(EDGES).lower() in _CONJUNCTIONS for word in words)
    return counted(found, at_least=small_n)


@decides("count:person_names")
def person_names(context: Context, *, N: int) -> bool | None:
    """Complete different names only become more."""
    return counted(len(set(_NAME.findall(complete(context.text)))), at_least=N)


@decides("count:numbers")
def numbers(context: Context, *, N: int) -> bool | None:
    """Complete numbers only become more."""
    return counted(len(_DIGITS.findall(unpunctuated(complete(context.text)))), exactly=N)


@decides("count:keywords_multiple")
def keywords_multiple(context: Context, **keywords: str) -> bool | None:
    """A keyword too often."""
    lowered = steady_lower(context.text)
    if lowered is None:
        return None
    ordered = [keywords[f"keyword{number}"] for number in range(1, 6)]
    for keyword, wanted in zip(ordered, _TIMES, strict=True):
        if lowered.count(keyword.strip().lower()) > wanted:
            return False
    return None


@decides("count:words_japanese")
def words_japanese(context: Context, *, N: int) -> bool | None:
    """A complete word that should be Japanese and is not."""
    for word in complete(context.text).split()[N - 1 :: N]:
        bare = word.strip(EDGES)
        if bare and not bare.isdigit() and not _JAPANESE.search(bare):
            return False
    return None


@decides("words:vowel")
def vowel(context: Context) -> bool | None:
    """A second line, or a fourth vowel."""
    if "\n" in context.text.strip():
        return False
    return False if len(set("aeiou") & set(context.derived.lowered)) > 3 else None


@decides("words:consonants")
def consonants(context: Context) -> bool | None:
    """A complete word without two consonants in a row."""
    words = complete(context.text).lower().split()
    return None if all(map(_CLUSTER.search, words)) else False


@decides("words:palindrome")
def palindrome(context: Context) -> bool | None:
    """Complete palindromes only become more."""
    words = unpunctuated(complete(context.text)).lower().split()
    found = sum(1 for word in words if len(word) >= 5 and word == word[::-1])
    return counted(found, at_least=10)


@decides("words:prime_lengths")
def prime_lengths(context: Context) -> bool | None:
    """A complete word of another length."""
    words = unpunctuated(complete(context.text)).split()
    return None if all(len(word) in _PRIMES for word in words) else False


@decides("words:repeats")
def repeats(context: Context, *, small_n: int) -> bool | None:
    """A complete word too often."""
    counts = Counter(unpunctuated(complete(context.text).lower()).split())
    return counted(max(counts.values(), default=0), at_most=small_n)


@decides("words:no_consecutive")
def consecutive(context: Context) -> bool | None:
    """Two complete neighbours that begin alike."""
    return _false_of(no_consecutive, context)


@decides("words:alphabet")
def out_of_order(context: Context) -> bool | None:
    """A complete word that does not begin with the next letter."""
    return _false_of(alphabet, context)


def _false_of(check: Callable[[Context], Outcome], context: Context) -> bool | None:
    """False where the check fails the complete words, of which there is one at least."""
    kept = complete(context.text)
    if not unpunctuated(kept).split():
        return None
    return None if check(Context(Text(kept), context.sample)).value else False


@decides("format:no_whitespace")
def no_whitespace(context: Context) -> bool | None:
    """White space before something, or between two things."""
    text = context.text
    return False if len(text.split()) > 1 or text != text.lstrip() else None


@decides("custom:multiples")
def multiples(context: Context) -> bool | None:
    """Another number, or one too many."""
    found = _NUMBER.findall(complete(context.text))
    return None if ["14", "21", "28", "35", "42", "49"][: len(found)] == found else False


@decides("format:list")
def separated_list(context: Context, *, sep: str) -> bool | None:
    """The separator occurs often enough."""
    return counted(context.text.count(sep), at_least=2)


@decides("format:parentheses")
def nested_parentheses(context: Context) -> bool | None:
    """Found by reading from left to right."""
    return True if parentheses(context).value else None


@decides("format:quotes")
def nested_quotes(context: Context) -> bool | None:
    """Found by reading from left to right."""
    return True if quotes(context).value else None


@decides("format:output_template")
def output_template(context: Context) -> bool | None:
    """The three labels stand there."""
    labels = ("My Answer:", "My Conclusion:", "Future Outlook:")
    return True if all(label in context.text for label in labels) else None


@decides("custom:character_reverse")
def character_reverse(context: Context) -> bool | None:
    """Said backwards."""
    return True if "elgae dlab" in (steady_lower(context.text) or "") else None


@decides("repeat:repeat_simple")
def repeat_simple(context: Context) -> bool | None:
    """The answer can become the sentence no more."""
    lowered = steady_lower(context.text)
    return None if lowered is None or _SIMPLE.startswith(lowered.strip()) else False


@decides("repeat:repeat_span")
def repeat_span(
    context: Context, *, prompt_to_repeat: str, n_start: int, n_end: int
) -> bool | None:
    """The answer can become the wanted characters no more."""
    wanted = prompt_to_repeat[n_start : n_end + 1].strip().lower()
    lowered = steady_lower(context.text)
    return None if lowered is None or wanted.startswith(lowered.strip()) else False
