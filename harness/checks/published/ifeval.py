"""The 25 instruction types of IFEval (Zhou et al. 2023, https://arxiv.org/abs/2311.07911).

Ids, arguments and verdicts are those of google-research/instruction_following_eval; the code is
our own, linear in the answer. What differs on purpose stands in ``docs/parity.md``. A function a
type: the file is as long as the published list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from harness.checks.registry import (
    Context,
    Demands,
    Example,
    Outcome,
    always,
    arguments_in_full,
    between,
)
from harness.checks.registry import check as register
from harness.checks.text.patterns import pattern
from harness.checks.text.spans import MOST, line_spans, occurrences, spans
from harness.errors import CheckError
from harness.records import Span

Relation = Literal["less than", "at least"]
Count = Annotated[int, Field(ge=0)]


def _is_pattern(source: str) -> str:
    try:
        pattern(source, ignore_case=True)
    except CheckError as error:
        raise ValueError(str(error)) from error
    return source


PatternText = Annotated[str, Field(min_length=1), AfterValidator(_is_pattern)]


def check(
    id: str,
    passes: list[Example],
    fails: list[Example],
    *requires: str,
    demands: Demands | None = None,
) -> Callable[[Callable[..., Outcome]], Callable[..., Outcome]]:
    """Register an IFEval type."""
    return register(
        id,
        version=1,
        passes=passes,
        fails=fails,
        family="ifeval",
        requires=requires,
        demands=demands,
    )


def _relation(found: int, relation: Relation, wanted: int, what: str) -> Outcome:
    value = found < wanted if relation == "less than" else found >= wanted
    return Outcome(value, f"{found} {what}, wanted {relation} {wanted}")


def _keyword(given: Mapping[str, Any]) -> Sequence[str]:
    return () if given["relation"] == "less than" else (given["keyword"],)


def _first_word(given: Mapping[str, Any]) -> Sequence[str]:
    return (given["first_word"], *between("\n\n", "num_paragraphs")(given))


# keywords ---------------------------------------------------------------------------------------


@check(
    "keywords:existence",
    [Example("Apples and pears.", {"keywords": ["apple", "pear"]})],
    [Example("Apples only.", {"keywords": ["apple", "pear"]})],
    demands=arguments_in_full("keywords"),
)
def existence(context: Context, *, keywords: list[PatternText]) -> Outcome:
    """Every keyword occurs, in any case, also inside a word (keywords are patterns)."""
    missing = [word for word in keywords if not pattern(word, ignore_case=True).found(context.text)]
    places = _places(context.text, [word for word in keywords if word not in missing])
    if missing:
        return Outcome(False, f"missing: {', '.join(missing)}", places)
    return Outcome(True, "every keyword occurs", places)


def _places(text: str, patterns: Iterable[str]) -> tuple[Span, ...]:
    """Where any of the patterns matches, in any case, in order."""
    found = {place for item in patterns for place in pattern(item, ignore_case=True).spans(text)}
    return tuple(sorted(found))


@check(
    "keywords:frequency",
    [Example("Tea, tea and TEA.", {"keyword": "tea", "frequency": 3, "relation": "at least"})],
    [Example("Tea and teapots.", {"keyword": "tea", "frequency": 2, "relation": "less than"})],
    demands=_keyword,
)
def frequency(
    context: Context, *, keyword: PatternText, frequency: Count, relation: Relation
) -> Outcome:
    """The keyword occurs less than, or at least, so many times, also inside words."""
    keyword = keyword.strip()
    found = pattern(keyword, ignore_case=True).count(context.text)
    verdict = _relation(found, relation, frequency, f"times {keyword!r}")
    return verdict._replace(spans=_places(context.text, [keyword]))


@check(
    "keywords:forbidden_words",
    [Example("A quiet sea.", {"forbidden_words": ["storm", "qui"]})],
    [Example("A Storm at sea.", {"forbidden_words": ["storm"]})],
)
def forbidden_words(context: Context, *, forbidden_words: list[PatternText]) -> Outcome:
    """None of the words occurs as a whole word, in any case."""
    found = [
        word
        for word in sorted(set(forbidden_words))
        if pattern(rf"\b{word}\b", ignore_case=True).found(context.text)
    ]
    if found:
        places = _places(context.text, [rf"\b{word}\b" for word in found])
        return Outcome(False, f"forbidden but present: {', '.join(found)}", places)
    return Outcome(True, "no forbidden word occurs")


@check(
    "keywords:letter_frequency",
    [Example("Banana", {"letter": "a", "let_frequency": 3, "let_relation": "at least"})],
    [Example("Wow! Wow!", {"letter": "!", "let_frequency": 2, "let_relation": "less than"})],
)
def letter_frequency(
    context: Context,
    *,
    letter: Annotated[str, Field(min_length=1, max_length=1)],
    let_frequency: Count,
    let_relation: Relation,
) -> Outcome:
    """The character (any one, not only a letter) occurs less than, or at least, so many times."""
    found = context.derived.lowered.count(letter.lower())
    verdict = _relation(found, let_relation, let_frequency, f"times {letter!r}")
    return verdict._replace(spans=occurrences(context.text, [letter], ignore_case=True))


# language ---------------------------------------------------------------------------------------


@check(
    "language:response_language",
    [Example("Das Wetter ist heute sehr schön und wir gehen spazieren.", {"language": "de"})],
    [Example("The weather is lovely and we go for a walk today.", {"language": "de"})],
    "langdetect",
)
def response_language(context: Context, *, language: str) -> Outcome:
    """The answer is in that language (ISO 639-1); one that cannot be told counts as followed."""
    found = context.derived.language
    if found is None:
        return Outcome(True, "the language cannot be told, which counts as followed")
    return Outcome(found == language, f"the language is {found}, wanted {language}")


# length -----------------------------------------------------------------------------------------


@check(
    "length_constraints:number_sentences",
    [Example("One. Two. Three.", {"num_sentences": 3, "relation": "at least"})],
    [Example("One. Two. Three.", {"num_sentences": 3, "relation": "less than"})],
    "punkt",
)
def number_sentences(context: Context, *, num_sentences: Count, relation: Relation) -> Outcome:
    """Less than, or at least, so many sentences (Punkt's English model)."""
    return _relation(len(context.derived.sentences), relation, num_sentences, "sentences")


@check(
    "length_constraints:number_words",
    [Example("three short words", {"num_words": 3, "relation": "at least"})],
    [Example("three short words", {"num_words": 3, "relation": "less than"})],
)
def number_words(context: Context, *, num_words: Count, relation: Relation) -> Outcome:
    """Less than, or at least, so many words (runs of word characters)."""
    return _relation(len(context.derived.words), relation, num_words, "words")


_DIVIDER = re.compile(r"\s?\*\*\*\s?")


@check(
    "length_constraints:number_paragraphs",
    [Example("First.\n***\nSecond.", {"num_paragraphs": 2})],
    [Example("First.\n\nSecond.", {"num_paragraphs": 2})],
)
def number_paragraphs(context: Context, *, num_paragraphs: Count) -> Outcome:
    """Exactly so many paragraphs, divided by ``***`` only; none but the outer ones empty."""
    parts = _DIVIDER.split(context.text)
    filled = [bool(part.strip()) for part in parts]
    if not all(filled[1:-1]):
        return Outcome(False, "a paragraph between two dividers is empty")
    found = sum(filled)
    return Outcome(found == num_paragraphs, f"{found} paragraphs, wanted {num_paragraphs}")


_WORD_END = re.compile(r"""[.,?!'"]""")


@check(
    "length_constraints:nth_paragraph_first_word",
    [
        Example(
            "One day.\n\nThen, night.",
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        )
    ],
    [
        Example(
            "One day.\n\nLater, night.",
            {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        )
    ],
    demands=_first_word,
)
def nth_paragraph_first_word(
    context: Context,
    *,
    num_paragraphs: Count,
    nth_paragraph: Annotated[int, Field(ge=1)],
    first_word: str,
) -> Outcome:
    """So many paragraphs between blank lines, and the nth begins with the word.

    The count skips empty paragraphs; the nth is looked up with them, as the official code does.
    """
    parts = context.text.split("\n\n")
    found = sum(1 for part in parts if part.strip())
    if nth_paragraph > found:
        return Outcome(False, f"{found} paragraphs, so there is no paragraph {nth_paragraph}")
    words = parts[nth_paragraph - 1].split(maxsplit=1)
    if not words:
        return Outcome(False, f"paragraph {nth_paragraph} is empty")
    first = _WORD_END.split(words[0].lstrip("'").lstrip('"'), maxsplit=1)[0].lower()
    if found != num_paragraphs:
        return Outcome(False, f"{found} paragraphs, wanted {num_paragraphs}")
    return Outcome(
        first == first_word.lower(),
        f"paragraph {nth_paragraph} begins with {first!r}, wanted {first_word.lower()!r}",
    )


# content and format -----------------------------------------------------------------------------


@check(
    "detectable_content:number_placeholders",
    [Example("Dear [name], from [sender]", {"num_placeholders": 2})],
    [Example("Dear [name\n], hello", {"num_placeholders": 1})],
)
def number_placeholders(context: Context, *, num_placeholders: Count) -> Outcome:
    """At least so many ``[placeholders]``, each on one line."""
    found = list(_bracket_pairs(context.derived.lines))
    return Outcome(
        len(found) >= num_placeholders,
        f"{len(found)} placeholders, wanted at least {num_placeholders}",
        tuple(found[:MOST]),
    )


def _bracket_pairs(lines: Sequence[str]) -> Iterator[Span]:
    """Where a ``[`` is closed on its line, each by the next ``]`` behind the last pair."""
    start = 0
    for line in lines:
        position = 0
        while (opening := line.find("[", position)) >= 0:
            closing = line.find("]", opening)
            if closing < 0:
                break
            position = closing + 1
            yield start + opening, start + position
        start += len(line) + 1


_POSTSCRIPT = {"P.S.": r"p\.\s?s\.", "P.P.S": r"p\.\s?p\.\s?s"}


@check(
    "detectable_content:postscript",
    [Example("Dear all.\nP. S. Bring tea.", {"postscript_marker": "P.S."})],
    [Example("Dear all. PS: bring tea.", {"postscript_marker": "P.S."})],
    demands=arguments_in_full("postscript_marker"),
)
def postscript(context: Context, *, postscript_marker: PatternText) -> Outcome:
    """The postscript marker occurs, in any case (``P.S.`` and ``P.P.S`` may hold spaces)."""
    marker = postscript_marker.strip()
    source = _POSTSCRIPT.get(marker, marker.lower())
    found = pattern(source, multiline=True).found(context.derived.lowered)
    places = _places(context.text, [source]) if found else ()
    return Outcome(found, f"{marker} {'occurs' if found else 'does not occur'}", places)


def count_bullets(lines: list[str]) -> int:
    """Lines that begin with ``-`` or with one ``*``.

    A ``*`` alone on its line takes the next line with it (the official pattern's "any character
    but an asterisk" matches the newline), so a bullet there is not counted again as a star.
    """
    stars = 0
    swallowed = False
    for number, line in enumerate(lines):
        if swallowed:
            swallowed = False
            continue
        body = line.lstrip()
        if not body.startswith("*") or body.startswith("**"):
            continue
        if len(body) > 1:
            stars += 1
        elif number + 1 < len(lines):
            stars, swallowed = stars + 1, True
    return stars + sum(1 for line in lines if line.lstrip().startswith("-"))


@check(
    "detectable_format:number_bullet_lists",
    [Example("* one\n  - two\n**bold**", {"num_bullets": 2})],
    [Example("* one\n* two\n---", {"num_bullets": 2})],
    demands=between("\n", "num_bullets"),
)
def number_bullet_lists(context: Context, *, num_bullets: Count) -> Outcome:
    """Exactly so many bullets (``*`` or ``-``); a rule ``---`` counts, ``**bold**`` does not."""
    found = count_bullets(context.derived.lines)
    places = tuple(islice(line_spans(context.derived.lines, _is_bullet), MOST))
    return Outcome(found == num_bullets, f"{found} bullets, wanted exactly {num_bullets}", places)


def _is_bullet(line: str) -> bool:
    body = line.lstrip()
    return body.startswith(("-", "*")) and not body.startswith("**")


_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


@check(
    "detectable_format:constrained_response",
    [Example("Well. My answer is maybe.")],
    [Example("My answer is: yes.")],
)
def constrained_response(context: Context) -> Outcome:
    """One of "My answer is yes.", "... no." and "... maybe." occurs."""
    for option in _CONSTRAINED:
        if option in context.text:
            return Outcome(True, f"says {option!r}", occurrences(context.text, [option]))
    return Outcome(False, "says none of the three answers")


_SINGLE = re.compile(r"\*([^\n*]*)\*")
_DOUBLE = re.compile(r"\*\*([^\n*]*)\*\*")


@check(
    "detectable_format:number_highlighted_sections",
    [Example("A *first* and a *second* point.", {"num_highlights": 2})],
    [Example("A *first* and * * nothing.", {"num_highlights": 2})],
)
def number_highlighted_sections(context: Context, *, num_highlights: Count) -> Outcome:
    """At least so many ``*highlights*`` or ``**highlights**`` that are not blank.

    Single and double ones are counted apart, so ``***a***`` is two.
    """
    found = [
        match
        for kind in (_SINGLE, _DOUBLE)
        for match in kind.finditer(context.text)
        if match[1].strip()
    ]
    return Outcome(
        len(found) >= num_highlights,
        f"{len(found)} highlights, wanted at least {num_highlights}",
        spans(found),
    )


@check(
    "detectable_format:multiple_sections",
    [
        Example(
            "Section 1\nTea.\nSection 2\nCake.", {"section_spliter": "Section", "num_sections": 2}
        )
    ],
    [
        Example(
            "SECTION 1\nTea.\nSECTION 2\nCake.", {"section_spliter": "Section", "num_sections": 2}
        )
    ],
    demands=arguments_in_full("section_spliter"),
)
def multiple_sections(
    context: Context, *, section_spliter: PatternText, num_sections: Count
) -> Outcome:
    """At least so many ``Section 1``, ``Section 2`` ... in that case; a reference counts too."""
    heading = pattern(section_spliter.strip() + r"\s?\d+")
    found = heading.count(context.text)
    return Outcome(
        found >= num_sections,
        f"{found} sections, wanted at least {num_sections}",
        heading.spans(context.text),
    )


_FENCES = ("```json", "```Json", "```JSON", "```")


def without_fence(text: str) -> str:
    """The text without a code fence around it, in the spellings that IFEval strips."""
    body = text.strip()
    for fence in _FENCES:
        body = body.removeprefix(fence)
    return body.removesuffix("```").strip()


def _integer(digits: str) -> int:
    # Python's own limit on integer text differs between versions; past it, not JSON for anyone.
    if len(digits) > 4300:
        raise ValueError("a number of more than 4300 digits")
    return 0


@check(
    "detectable_format:json_format",
    [Example('```json\n{"tea": [1, 2]}\n```'), Example("42")],
    [Example("{'tea': 1}"), Example('Here it is: {"tea": 1}')],
)
def json_format(context: Context) -> Outcome:
    """The whole answer is JSON, with or without a code fence; a bare number or string will do."""
    try:
        json.loads(without_fence(context.text), parse_int=_integer)
    except ValueError as error:
        return Outcome(False, f"not JSON: {error}")
    except RecursionError:
        return Outcome(False, "not JSON that can be read: nested too deep")
    return Outcome(True, "the answer is JSON")


@check(
    "detectable_format:title",
    [Example("<<On tea>>\nTea is good.")],
    [Example("<< >>\nTea is good."), Example("<<On\ntea>>")],
    demands=always("<<"),
)
def title(context: Context) -> Outcome:
    """A title in double angular brackets, on one line and not blank."""
    for line in context.derived.lines:
        opening, closing = line.find("<<"), line.rfind(">>")
        if opening < 0 or closing < opening + 3:
            continue
        if line[opening : closing + 2].lstrip("<").rstrip(">").strip():
            places = occurrences(context.text, [line[opening : closing + 2]])[:1]
            return Outcome(True, "there is a title in <<double angular brackets>>", places)
    return Outcome(False, "there is no <<title>>")


# combination, start and end, case, punctuation ----------------------------------------------------


@check(
    "combination:two_responses",
    [Example("Tea.\n******\nCoffee.")],
    [Example("Tea.\n******\nTea."), Example("Tea.\n***\nCoffee.")],
    demands=always("******"),
)
def two_responses(context: Context) -> Outcome:
    """Two different answers divided by six asterisks."""
    parts = [part.strip() for part in context.text.split("******")]
    if not all(parts[1:-1]):
        return Outcome(False, "an answer between two dividers is empty")
    filled = [part for part in parts if part]
    if len(filled) != 2:
        return Outcome(False, f"{len(filled)} answers, wanted 2 divided by ******")
    return Outcome(filled[0] != filled[1], "two answers" + " alike" * (filled[0] == filled[1]))


@check(
    "combination:repeat_prompt",
    [Example("Name a tea. Assam.", {"prompt_to_repeat": "Name a tea."})],
    [Example("Sure: Name a tea. Assam.", {"prompt_to_repeat": "Name a tea."})],
    demands=arguments_in_full("prompt_to_repeat"),
)
def repeat_prompt(
    context: Context, *, prompt_to_repeat: Annotated[str, Field(min_length=1)]
) -> Outcome:
    """The answer begins with the request, word for word, in any case."""
    wanted = prompt_to_repeat.strip().lower()
    value = context.derived.lowered.strip().startswith(wanted)
    return Outcome(value, f"{'begins' if value else 'does not begin'} with the request")


@check(
    "startend:end_checker",
    [Example('All done. "That is all."', {"end_phrase": "That is all."})],
    [Example("That is all. Bye!", {"end_phrase": "That is all."})],
    demands=arguments_in_full("end_phrase"),
)
def end_checker(context: Context, *, end_phrase: str) -> Outcome:
    """The answer ends with the phrase, in any case; only straight double quotes may follow."""
    wanted = end_phrase.strip().lower()
    value = context.text.strip().strip('"').lower().endswith(wanted)
    places = occurrences(context.text, [end_phrase.strip()], ignore_case=True) if value else ()
    return Outcome(
        value, f"{'ends' if value else 'does not end'} with {end_phrase.strip()!r}", places[-1:]
    )


@check(
    "startend:quotation",
    [Example('"All of it."')],
    [Example("“All of it.”"), Example('"')],
    demands=always('"'),
)
def quotation(context: Context) -> Outcome:
    """The whole answer stands in straight double quotes."""
    body = context.text.strip()
    value = len(body) > 1 and body[0] == body[-1] == '"'
    return Outcome(value, f"{'stands' if value else 'does not stand'} in straight double quotes")


def _english(context: Context, right_case: bool, case: str) -> Outcome:
    if not right_case:
        return Outcome(False, f"not all in {case}", spans(_OTHER_CASE[case].finditer(context.text)))
    found = context.derived.language
    if found is None:
        return Outcome(True, f"{case}; the language cannot be told, which counts as English")
    return Outcome(found == "en", f"{case}, language {found}")


_OTHER_CASE = {"capitals": re.compile("[a-z]+"), "lower case": re.compile("[A-Z]+")}


@check(
    "change_case:english_capital",
    [Example("THE WEATHER IS LOVELY AND WE GO FOR A WALK TODAY.")],
    [Example("The weather is lovely and we go for a walk today.")],
    "langdetect",
)
def english_capital(context: Context) -> Outcome:
    """English, all in capitals."""
    return _english(context, context.text.isupper(), "capitals")


@check(
    "change_case:english_lowercase",
    [Example("the weather is lovely and we go for a walk today.")],
    [Example("The weather is lovely and we go for a walk today.")],
    "langdetect",
)
def english_lowercase(context: Context) -> Outcome:
    """English, all in lower case."""
    return _english(context, context.text.islower(), "lower case")


@check(
    "change_case:capital_word_frequency",
    [Example("GO to THE SHOP", {"capital_frequency": 3, "capital_relation": "at least"})],
    [Example("GO to THE SHOP", {"capital_frequency": 3, "capital_relation": "less than"})],
    "punkt",
)
def capital_word_frequency(
    context: Context, *, capital_frequency: Count, capital_relation: Relation
) -> Outcome:
    """Less than, or at least, so many words all in capitals (Penn Treebank tokens)."""
    found = sum(1 for token in context.derived.tokens if token.isupper())
    return _relation(found, capital_relation, capital_frequency, "words in capitals")


@check("punctuation:no_comma", [Example("Tea and cake.")], [Example("Tea, cake.")])
def no_comma(context: Context) -> Outcome:
    """No comma."""
    found = context.text.count(",")
    return Outcome(found == 0, f"{found} commas, wanted none", occurrences(context.text, [","]))
