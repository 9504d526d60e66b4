"""When a beginning settles the verdicts of IFEval's types."""

from __future__ import annotations

import json

from harness.checks.published.ifeval import (
    _CONSTRAINED,
    _DIVIDER,
    _DOUBLE,
    _POSTSCRIPT,
    _SINGLE,
    _WORD_END,
    Relation,
    _bracket_pairs,
    count_bullets,
    title,
)
from harness.checks.registry import Context, decides
from harness.checks.settled.parts import (
    can_begin,
    complete_sentences,
    counted,
    is_plain,
    related,
    steady_lower,
    upper_tokens,
)
from harness.checks.text.patterns import pattern


@decides("keywords:existence")
def existence(context: Context, *, keywords: list[str]) -> bool | None:
    """Literal keywords that all occur stay there."""
    sure = all(
        is_plain(word) and pattern(word, ignore_case=True).found(context.text) for word in keywords
    )
    return True if sure else None


@decides("keywords:frequency")
def frequency(context: Context, *, keyword: str, frequency: int, relation: Relation) -> bool | None:
    """Occurrences of a literal keyword only become more."""
    keyword = keyword.strip()
    if not is_plain(keyword):
        return None
    return related(pattern(keyword, ignore_case=True).count(context.text), relation, frequency)


@decides("keywords:forbidden_words")
def forbidden_words(context: Context, *, forbidden_words: list[str]) -> bool | None:
    """A literal word with something behind it stays forbidden."""
    text = context.text
    for word in forbidden_words:
        if is_plain(word):
            found = pattern(rf"\b{word}\b", ignore_case=True).ends(text)
            if any(end < len(text) for end in found):
                return False
    return None


@decides("keywords:letter_frequency")
def letter_frequency(
    context: Context, *, letter: str, let_frequency: int, let_relation: Relation
) -> bool | None:
    """Characters only become more."""
    lowered = steady_lower(context.text)
    if lowered is None:
        return None
    return related(lowered.count(letter.lower()), let_relation, let_frequency)


@decides("length_constraints:number_sentences")
def number_sentences(context: Context, *, num_sentences: int, relation: Relation) -> bool | None:
    """Complete sentences only become more."""
    return related(len(complete_sentences(context.text)), relation, num_sentences)


@decides("length_constraints:number_words")
def number_words(context: Context, *, num_words: int, relation: Relation) -> bool | None:
    """Words only become more."""
    return related(len(context.derived.words), relation, num_words)


@decides("length_constraints:number_paragraphs")
def number_paragraphs(context: Context, *, num_paragraphs: int) -> bool | None:
    """Too many paragraphs, or an empty one between two dividers; asterisks may become a divider."""
    *parts, last = _DIVIDER.split(context.text)
    filled = [bool(part.strip()) for part in parts]
    if not all(filled[1:]):
        return False
    return counted(sum(filled) + bool(last.strip().strip("*").strip()), exactly=num_paragraphs)


@decides("length_constraints:nth_paragraph_first_word")
def nth_paragraph_first_word(
    context: Context, *, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool | None:
    """Too many paragraphs, or a wrong word that is complete."""
    parts = context.text.split("\n\n")
    if sum(1 for part in parts if part.strip()) > num_paragraphs:
        return False
    if len(parts) < nth_paragraph:
        return None
    own, closed = parts[nth_paragraph - 1].lstrip(), len(parts) > nth_paragraph
    words = own.split(maxsplit=1)
    if not words:
        return False if closed else None
    if not closed and own == words[0]:
        return None  # the word may go on
    first = _WORD_END.split(words[0].lstrip("'").lstrip('"'), maxsplit=1)[0].lower()
    return None if first == first_word.lower() else False


@decides("detectable_content:number_placeholders")
def number_placeholders(context: Context, *, num_placeholders: int) -> bool | None:
    """Closed brackets only become more."""
    found = sum(1 for _ in _bracket_pairs(context.derived.lines))
    return counted(found, at_least=num_placeholders)


@decides("detectable_content:postscript")
def postscript(context: Context, *, postscript_marker: str) -> bool | None:
    """A marker that occurs stays there."""
    marker = postscript_marker.strip()
    lowered = steady_lower(context.text)
    source = _POSTSCRIPT.get(marker) or (marker.lower() if is_plain(marker) else None)
    if lowered is None or source is None:
        return None
    return True if pattern(source, multiline=True).found(lowered) else None


@decides("detectable_format:number_bullet_lists")
def number_bullet_lists(context: Context, *, num_bullets: int) -> bool | None:
    """Bullets on complete lines only become more."""
    return counted(count_bullets(context.derived.lines[:-1]), exactly=num_bullets)


@decides("detectable_format:constrained_response")
def constrained_response(context: Context) -> bool | None:
    """One of the three sentences, once said."""
    return True if any(option in context.text for option in _CONSTRAINED) else None


@decides("detectable_format:number_highlighted_sections")
def number_highlighted_sections(context: Context, *, num_highlights: int) -> bool | None:
    """Closed highlights only become more."""
    kinds = (_SINGLE, _DOUBLE)
    found = sum(1 for k in kinds for match in k.finditer(context.text) if match[1].strip())
    return counted(found, at_least=num_highlights)


@decides("detectable_format:multiple_sections")
def multiple_sections(context: Context, *, section_spliter: str, num_sections: int) -> bool | None:
    """Headings with a number only become more."""
    splitter = section_spliter.strip()
    if not is_plain(splitter) or any(character.isdigit() for character in splitter):
        return None
    found = pattern(splitter + r"\s?\d+").count(context.text)
    return counted(found, at_least=num_sections)


_LITERALS = ("true", "false", "null", "NaN", "Infinity")


@decides("detectable_format:json_format")
def json_format(context: Context) -> bool | None:
    """A beginning that no JSON has, or something behind a value that is complete."""
    body = context.text.lstrip()
    if body[0].isalpha():
        return None if any(can_begin(word, body) for word in _LITERALS) else False
    if body[0] not in '`{["-0123456789':
        return False
    if body[0] in '{["':
        try:
            _, end = json.JSONDecoder().raw_decode(body)
        except (ValueError, RecursionError):
            return None
        rest = body[end:].strip()
        return None if "```".startswith(rest) else False
    return None


@decides("detectable_format:title")
def find_title(context: Context) -> bool | None:
    """A title that stands there."""
    return True if title(context).value else None


@decides("combination:two_responses")
def two_responses(context: Context) -> bool | None:
    """Too many answers, or an empty one between two dividers."""
    *parts, last = context.text.split("******")
    filled = [bool(part.strip()) for part in parts]
    if not all(filled[1:]):
        return False
    return False if sum(filled) + bool(last.strip().strip("*").strip()) > 2 else None


@decides("combination:repeat_prompt")
def repeat_prompt(context: Context, *, prompt_to_repeat: str) -> bool | None:
    """The request stands there, or something else does."""
    wanted, lowered = prompt_to_repeat.strip().lower(), steady_lower(context.text)
    if lowered is None:
        return None
    body = lowered.lstrip()
    if body.startswith(wanted):
        return True
    return None if wanted.startswith(body) else False


@decides("startend:quotation")
def quotation(context: Context) -> bool | None:
    """It does not begin with a quotation mark."""
    return None if context.text.lstrip().startswith('"') else False


@decides("change_case:english_capital")
def english_capital(context: Context) -> bool | None:
    """A small letter."""
    return False if any(map(str.islower, context.text)) else None


@decides("change_case:english_lowercase")
def english_lowercase(context: Context) -> bool | None:
    """A capital letter."""
    return False if any(map(str.isupper, context.text)) else None


@decides("change_case:capital_word_frequency")
def capital_word_frequency(
    context: Context, *, capital_frequency: int, capital_relation: Relation
) -> bool | None:
    """Words in capitals of complete sentences only become more."""
    if not any(map(str.isupper, context.text)) and capital_frequency:
        return None
    return related(upper_tokens(context.text), capital_relation, capital_frequency)


@decides("punctuation:no_comma")
def no_comma(context: Context) -> bool | None:
    """A comma."""
    return False if "," in context.text else None
