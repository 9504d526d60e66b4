"""IFBench's types about words and sentences: ``count``, ``ratio``, ``sentence`` and ``words``.

A function a type: the file is as long as the published list.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise

from harness.checks.published.ifbench import (
    EDGES,
    Count,
    Filled,
    Ordinal,
    at_least,
    check,
    first_failure,
    unpunctuated,
)
from harness.checks.registry import Context, Example, Outcome, Unsupported
from harness.checks.text.plain import Text


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# English function words (the list NLTK distributes, after Porter's); those with an apostrophe
# are left out because a word here is a run of word characters.
_STOP_WORDS = _listed(
    """a about above after again against ain all am an and any are aren as at be because been
    before being below between both but by can couldn d did didn do does doesn doing don down
    during each few for from further had hadn has hasn have haven having he her here hers herself
    him himself his how i if in into is isn it its itself just ll m ma me mightn more most mustn my
    myself needn no nor not now o of off on once only or other our ours ourselves out over own re
    s same shan she should shouldn so some such t than that the their theirs them themselves then
    there these they this those through to too under until up ve very was wasn we were weren what
    when where which while who whom why will with won wouldn y you your yours yourself
    yourselves"""
)
_PRONOUNS = _listed(
    """i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his
    himself she her hers herself it its itself they them their theirs themselves this that these
    those who whom whose which what whoever whomever whatever whichever anybody anyone anything
    everybody everyone everything nobody nothing somebody someone something each either neither
    both all some any none"""
)
_NAMES = _listed(
    """Emma Liam Sophia Jackson Olivia Noah Ava Lucas Isabella Mason Mia Ethan Charlotte Alexander
    Amelia Benjamin Harper Leo Zoe Daniel Chloe Samuel Lily Matthew Grace Owen Abigail Gabriel Ella
    Jacob Scarlett Nathan Victoria Elijah Layla Nicholas Audrey David Hannah Christopher Penelope
    Thomas Nora Andrew Aria Joseph Claire Ryan Stella Jonathan"""
)
_CONJUNCTIONS = frozenset({"and", "but", "for", "nor", "or", "so", "yet"})
_PRIMES = frozenset(n for n in range(2, 100) if all(n % d for d in range(2, n)))
_DIGITS = re.compile(r"\d+")
_JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
_CLUSTER = re.compile("[bcdfghjklmnpqrstvwxyz]{2}")
_NAME = re.compile(rf"\b(?:{'|'.join(sorted(_NAMES))})\b")

# count ------------------------------------------------------------------------------------------


@check(
    "count:word_count_range",
    [Example("one two three", {"min_words": 2, "max_words": 3})],
    [Example("one two three four", {"min_words": 2, "max_words": 3})],
)
def word_count_range(context: Context, *, min_words: Count, max_words: Count) -> Outcome:
    """Between so many and so many words."""
    found = len(context.derived.words)
    return Outcome(
        min_words <= found <= max_words, f"{found} words, wanted {min_words} to {max_words}"
    )


@check(
    "count:unique_word_count",
    [Example("Tea, cake and jam", {"N": 4})],
    [Example("tea Tea tea! cake", {"N": 3})],
)
def unique_word_count(context: Context, *, N: Count) -> Outcome:
    """At least N different words, whatever their case."""
    found = {word.strip(EDGES) for word in context.derived.lowered.split()}
    return at_least(len(found), N, "different words")


@check(
    "count:conjunctions",
    [Example("Tea and cake, but no jam or cream.", {"small_n": 3})],
    [Example("Tea and cake and jam.", {"small_n": 2})],
)
def conjunctions(context: Context, *, small_n: Count) -> Outcome:
    """At least so many different coordinating conjunctions; "and" and "And," are two."""
    found = {word for word in context.text.split() if word.strip(EDGES).lower() in _CONJUNCTIONS}
    return at_least(len(found), small_n, "different conjunctions")


@check(
    "count:person_names",
    [Example("Emma met Liam and Noah.", {"N": 3})],
    [Example("Emma met Emmanuel and emma.", {"N": 2})],
)
def person_names(context: Context, *, N: Count) -> Outcome:
    """At least N different names of the prompt's fifty."""
    return at_least(len(set(_NAME.findall(context.text))), N, "different names")


@check(
    "count:numbers",
    [Example("2 teas for 3.50 each", {"N": 2})],
    [Example("2 teas, 3 cakes", {"N": 1})],
)
def numbers(context: Context, *, N: Count) -> Outcome:
    """Exactly N numbers; punctuation goes first, so 3.50 is one."""
    found = len(_DIGITS.findall(unpunctuated(context.text)))
    return Outcome(found == N, f"{found} numbers, wanted exactly {N}")


@check(
    "count:punctuation",
    [Example("Tea, cake; jam: yes. No! What? Really?!")],
    [Example("Tea, cake; jam: yes. No! What?")],
)
def punctuation(context: Context) -> Outcome:
    """Each of . , ! ? ; : and, apart from those, an interrobang (?! or !? or ‽)."""
    text = context.text
    if not any(mark in text for mark in ("!?", "?!", "‽")):
        return Outcome(False, "no interrobang")
    rest = text.replace("?!", "", 1) if "?!" in text else text.replace("!?", "", 1)
    return first_failure([f"no {mark!r}" for mark in ".,!?;:" if mark not in rest], "all are there")


@check(
    "count:pronouns",
    [Example("They gave it to us.", {"N": 3})],
    [Example("Anna gave tea.", {"N": 1})],
    "punkt",
)
def pronouns(context: Context, *, N: Count) -> Outcome:
    """At least N pronouns; she/her counts as two."""
    tokens = Text(context.text.replace("/", " ").lower()).tokens
    return at_least(sum(1 for token in tokens if token in _PRONOUNS), N, "pronouns")


_TIMES = (1, 2, 3, 5, 7)


@check(
    "count:keywords_multiple",
    [
        Example(
            "a bb ccc ddddd eeeeeee",
            {"keyword1": "a", "keyword2": "b", "keyword3": "c", "keyword4": "d", "keyword5": "e"},
        )
    ],
    [
        Example(
            "a b ccc ddddd eeeeeee",
            {"keyword1": "a", "keyword2": "b", "keyword3": "c", "keyword4": "d", "keyword5": "e"},
        )
    ],
)
def keywords_multiple(
    context: Context,
    *,
    keyword1: Filled,
    keyword2: Filled,
    keyword3: Filled,
    keyword4: Filled,
    keyword5: Filled,
) -> Outcome:
    """The five keywords occur exactly 1, 2, 3, 5 and 7 times, in any case, also inside words."""
    keywords = (keyword1, keyword2, keyword3, keyword4, keyword5)
    problems = []
    for keyword, wanted in zip(keywords, _TIMES, strict=True):
        found = context.derived.lowered.count(keyword.strip().lower())
        if found != wanted:
            problems.append(f"{keyword.strip()!r} {found} times, wanted {wanted}")
    return first_failure(problems, "every keyword as often as wanted")


@check(
    "count:words_japanese",
    [Example("I drink お茶 and eat 寿司!", {"N": 3})],
    [Example("I drink tea and eat 寿司!", {"N": 3})],
)
def words_japanese(context: Context, *, N: Ordinal) -> Outcome:
    """Every Nth word holds a Japanese character; bare digits and punctuation are passed over."""
    for word in context.text.split()[N - 1 :: N]:
        bare = word.strip(EDGES)
        if bare and not bare.isdigit() and not _JAPANESE.search(bare):
            return Outcome(False, f"{bare!r} is not Japanese")
    return Outcome(True, f"every word number {N} is Japanese")


# ratio ------------------------------------------------------------------------------------------


@check(
    "ratio:stop_words",
    [Example("Green tea tastes good", {"percentage": 10})],
    [Example("This is the tea", {"percentage": 50})],
)
def stop_words(context: Context, *, percentage: float) -> Outcome:
    """At most so many per cent of the words are English function words."""
    words = context.derived.words
    if not words:
        return Outcome(False, "no words")
    share = sum(1 for word in words if word.lower() in _STOP_WORDS) / len(words) * 100
    return Outcome(
        share <= percentage, f"{share:.1f} % function words, wanted at most {percentage:g} %"
    )


def _endings(context: Context) -> tuple[int, int, int]:
    ends = Counter(sentence[-1:] for sentence in context.derived.sentences)
    return ends["."], ends["?"], ends["!"]


@check(
    "ratio:sentence_type",
    [Example("Tea is hot. Cake is sweet. And jam?")],
    [Example("Tea is hot. And jam?")],
    "punkt",
)
def sentence_type(context: Context) -> Outcome:
    """Twice as many sentences end in . as in ?; none of either will do."""
    periods, questions, _ = _endings(context)
    return Outcome(
        periods == 2 * questions, f"{periods} declarative, {questions} interrogative, wanted 2 : 1"
    )


@check(
    "ratio:sentence_balance",
    [Example("Tea is hot. And jam? Wow!")],
    [Example("Tea is hot. Cake is sweet. Wow!")],
    "punkt",
)
def sentence_balance(context: Context) -> Outcome:
    """As many sentences end in . as in ? and in !."""
    counts = _endings(context)
    reason = "{} declarative, {} interrogative, {} exclamatory, wanted equal".format(*counts)
    return Outcome(len(set(counts)) == 1, reason)


@check(
    "ratio:sentence_words",
    [Example("I ate. We go. He is.")],
    [Example("I ate. We go. She left.")],
    "punkt",
)
def sentence_words(context: Context) -> Outcome:
    """Three sentences of the same number of characters."""
    lengths = [len(sentence.strip()) for sentence in context.derived.sentences]
    value = len(lengths) == 3 and len(set(lengths)) == 1
    return Outcome(value, f"{len(lengths)} sentences of {lengths[:5]} characters, wanted 3 alike")


@check(
    "ratio:overlap",
    [Example("green tea", {"reference_text": "green tea", "percentage": 100})],
    [Example("black cake", {"reference_text": "green tea", "percentage": 50})],
)
def overlap(context: Context, *, reference_text: str, percentage: float) -> Outcome:
    """So many per cent (± 2) of the answer's character trigrams stand in the reference."""
    ours, theirs = _trigrams(context.text), _trigrams(reference_text)
    if not ours:
        return Outcome(False, "shorter than three characters")
    share = len(ours & theirs) / len(ours) * 100
    return Outcome(
        percentage - 2 <= share <= percentage + 2,
        f"{share:.1f} % of the trigrams, wanted {percentage:g} ± 2",
    )


def _trigrams(text: str) -> set[str]:
    return {text[start : start + 3] for start in range(len(text) - 2)}


# sentence ---------------------------------------------------------------------------------------


@check(
    "sentence:keyword",
    [Example("I rest. I drink Tea. I go.", {"word": "tea", "N": 2})],
    [Example("I drink tea. I eat.", {"word": "tea", "N": 2})],
    "punkt",
)
def sentence_keyword(context: Context, *, word: Filled, N: Ordinal) -> Outcome:
    """The Nth sentence holds the word, in any case."""
    sentences = context.derived.sentences
    if len(sentences) < N:
        return Outcome(False, f"{len(sentences)} sentences, so there is no sentence {N}")
    found = re.search(rf"\b{re.escape(word)}\b", sentences[N - 1], re.IGNORECASE)
    return Outcome(
        found is not None, f"sentence {N} {'holds' if found else 'does not hold'} {word!r}"
    )


@check(
    "sentence:increment",
    [Example("Tea helps. Tea always helps. Green tea always helps.", {"small_n": 1})],
    [Example("Tea helps. Tea helps me now and then.", {"small_n": 1})],
    "punkt",
)
def sentence_increment(context: Context, *, small_n: Count) -> Outcome:
    """Each sentence has exactly so many words more than the one before."""
    counts = [len(unpunctuated(sentence).split()) for sentence in context.derived.sentences]
    problems = [
        f"a sentence of {after} words follows one of {before}, wanted {before + small_n}"
        for before, after in pairwise(counts)
        if after != before + small_n
    ]
    return first_failure(problems, f"sentences of {counts[:8]} words")


@check(
    "sentence:alliteration_increment",
    [Example("We eat. Tea time now. Big brown bears roam.")],
    [Example("Big brown bears roam. We eat.")],
    "punkt",
)
def alliteration_increment(context: Context) -> Outcome:
    """Each sentence has more words in runs of one first letter than the one before."""
    counts = [_alliterating(sentence) for sentence in context.derived.sentences]
    rising = all(before < after for before, after in pairwise(counts))
    return Outcome(rising, f"{counts[:8]} alliterating words, wanted rising numbers")


def _alliterating(sentence: str) -> int:
    """Words that stand next to one with the same first character, run by run."""
    bare = (word.lstrip(EDGES) for word in sentence.lower().split())
    same = [one[0] == other[0] for one, other in pairwise(word for word in bare if word)]
    runs = sum(1 for before, now in pairwise([False, *same]) if now and not before)
    return sum(same) + runs


# words ------------------------------------------------------------------------------------------


@check(
    "words:alphabet",
    [Example("Yellow zebras always buy cake.")],
    [Example("Always buy dates.")],
)
def alphabet(context: Context) -> Outcome:
    """Each word begins with the letter after the last word's, A after Z."""
    words = unpunctuated(context.text).lower().split()
    if not words or not "a" <= words[0][0] <= "z":
        return Outcome(False, "the first word does not begin with a letter from a to z")
    start = ord(words[0][0]) - ord("a")
    for number, word in enumerate(words):
        wanted = chr(ord("a") + (start + number) % 26)
        if word[0] != wanted:
            return Outcome(False, f"{word!r} begins with {word[0]!r}, wanted {wanted!r}")
    return Outcome(True, "every word begins with the next letter")


@check("words:vowel", [Example("Tea at ten")], [Example("Tea if you go"), Example("Tea\nat ten")])
def vowel(context: Context) -> Outcome:
    """One line with at most three of the vowels a, e, i, o, u."""
    if "\n" in context.text.strip():
        return Outcome(False, "more than one line")
    found = sorted(set("aeiou") & set(context.derived.lowered))
    return Outcome(len(found) <= 3, f"vowels {' '.join(found)}, wanted at most three kinds")


@check("words:consonants", [Example("Fresh plants thrive")], [Example("A fresh tea")])
def consonants(context: Context) -> Outcome:
    """Every word has two consonants in a row."""
    without = [word for word in context.derived.lowered.split() if not _CLUSTER.search(word)]
    return first_failure([f"{word!r} has no cluster" for word in without[:1]], "every word has one")


@check(
    "words:palindrome",
    [Example("level radar civic kayak rotor madam refer stats tenet solos")],
    [Example("level radar noon")],
)
def palindrome(context: Context) -> Outcome:
    """At least ten words of five or more characters that read the same backwards."""
    words = unpunctuated(context.text).lower().split()
    found = sum(1 for word in words if len(word) >= 5 and word == word[::-1])
    return at_least(found, 10, "palindromes")


@check("words:prime_lengths", [Example("We are happy")], [Example("We like tea")])
def prime_lengths(context: Context) -> Outcome:
    """Every word's length is a prime number (below 100)."""
    for word in unpunctuated(context.text).split():
        if len(word) not in _PRIMES:
            return Outcome(False, f"{word[:40]!r} has {len(word)} characters")
    return Outcome(True, "every length is prime")


@check(
    "words:repeats",
    [Example("Tea and cake and jam", {"small_n": 2})],
    [Example("Tea, tea, TEA", {"small_n": 2})],
)
def repeats(context: Context, *, small_n: Count) -> Outcome:
    """No word more than so many times, whatever its case."""
    counts = Counter(unpunctuated(context.derived.lowered).split())
    word, most = counts.most_common(1)[0] if counts else ("", 0)
    return Outcome(most <= small_n, f"{word[:40]!r} {most} times, wanted at most {small_n}")


@check(
    "words:odd_even_syllables",
    [Example("Tea table cup")],
    [Example("Tea cup")],
    "syllapy",
)
def odd_even_syllables(context: Context) -> Outcome:
    """Words of an odd and an even number of syllables take turns."""
    import syllapy

    words = unpunctuated(context.text).lower().split()
    parity = [syllapy.count(word) % 2 for word in words]
    for (one, other), (before, after) in zip(pairwise(words), pairwise(parity), strict=True):
        if before == after:
            return Outcome(False, f"{one[:40]!r} and {other[:40]!r} are alike")
    return Outcome(True, "odd and even take turns")


@check(
    "words:last_first",
    [Example("I like tea. Tea is hot.")],
    [Example("I like tea. Cake is sweet.")],
    "punkt",
)
def last_first(context: Context) -> Outcome:
    """Each sentence begins with the last word of the one before."""
    for before, after in pairwise(context.derived.sentences):
        last, first = before.rstrip(EDGES).split(), after.lstrip(EDGES).split()
        if not last or not first:
            return Outcome(False, "a sentence without words")
        if last[-1].lower() != first[0].lower():
            return Outcome(False, f"{first[0][:40]!r} follows {last[-1][:40]!r}")
    return Outcome(True, "each sentence begins with the last word before it")


@check(
    "words:paragraph_last_first",
    [Example("Tea is my tea.\n\nCake is a cake!")],
    [Example("Tea is hot.")],
)
def paragraph_last_first(context: Context) -> Outcome:
    """Each line ends with the word it begins with."""
    for line in context.derived.lowered.split("\n"):
        words = line.strip().strip(EDGES).split()
        if words and words[0] != words[-1]:
            return Outcome(False, f"begins with {words[0][:40]!r}, ends with {words[-1][:40]!r}")
    return Outcome(True, "every line ends as it begins")


@check("words:no_consecutive", [Example("Tea and cake")], [Example("Tea tastes good")])
def no_consecutive(context: Context) -> Outcome:
    """No two words in a row begin with the same character."""
    for one, other in pairwise(unpunctuated(context.derived.lowered).split()):
        if one[0] == other[0]:
            return Outcome(False, f"{one[:40]!r} {other[:40]!r} begin alike")
    return Outcome(True, "no two neighbours begin alike")


@check(
    "words:words_position",
    [Example("The tea is good tea indeed.", {"keyword": "tea"})],
    [Example("The tea is good.", {"keyword": "tea"})],
    "punkt",
)
def words_position(context: Context, *, keyword: str) -> Outcome:
    """The second token and the second to last one (not counting a final mark) are the word."""
    tokens = [token.lower() for token in context.derived.tokens]
    if tokens and tokens[-1] in EDGES[:-1]:
        tokens = tokens[:-1]
    if len(tokens) < 2:
        return Outcome(False, "too few words")
    value = tokens[1] == tokens[-2] == keyword.strip().lower()
    return Outcome(value, f"second {tokens[1][:40]!r}, second to last {tokens[-2][:40]!r}")


@check(
    "words:keywords_specific_position",
    [Example("I rest. I drink tea now.", {"keyword": "tea", "n": 2, "m": 3})],
    [Example("I rest. I drink, tea now.", {"keyword": "tea", "n": 2, "m": 2})],
    "punkt",
)
def keywords_specific_position(
    context: Context, *, keyword: Filled, n: Ordinal, m: Ordinal
) -> Outcome:
    """The mth word of the nth sentence is the keyword; punctuation is no word."""
    sentences = context.derived.sentences
    if len(sentences) < n:
        return Outcome(False, f"{len(sentences)} sentences, so there is no sentence {n}")
    words = [
        token
        for token in Text(sentences[n - 1]).tokens
        if any(character.isalnum() for character in token)
    ]
    if len(words) < m:
        return Outcome(False, f"sentence {n} has {len(words)} words, so there is no word {m}")
    return Outcome(
        words[m - 1].lower() == keyword.strip().lower(),
        f"word {m} of sentence {n} is {words[m - 1][:40]!r}, wanted {keyword.strip()!r}",
    )


@check("words:start_verb", [], [])
def start_verb(context: Context) -> Outcome:
    """The answer begins with a verb. Not supported: it needs NLTK's part-of-speech tagger."""
    raise Unsupported(
        "it takes the weights of NLTK's part-of-speech tagger, which are not in a package"
    )
