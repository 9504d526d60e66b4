"""The ablated text of an IFEval row: its prompt without the sentences that hold an instruction.

IFEval's prompts do not mark their instructions, but its authors wrote them as sentences of their
own in most rows. The rule: a sentence that speaks of an instruction the row is judged by
(:data:`TRIGGERS`) is left out; the row has no ablated text where an instruction is found in no
sentence of its own, or where fewer than :data:`LEAST_WORDS` words remain.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

LEAST_WORDS = 4
_SENTENCE = re.compile(r"(?<=[.!?])[\"')\]]*\s+|\n+")
_FAMILY = {
    "change_case": r"capital|lower ?case|upper ?case|\bcaps\b|all letters",
    "combination:repeat_prompt": r"repeat|before repeating|the request",
    "combination:two_responses": r"two (?:different )?(?:responses|answers|versions)|asterisk|\*{6}"
    r"|different responses",
    "detectable_content:number_placeholders": r"placeholder|square bracket|\[\w+\]",
    "detectable_content:postscript": r"postscript|p\. ?(?:p\. ?)?s\b|\bP\.?S\b",
    "detectable_format:constrained_response": r"my answer is|one of the following|choose from"
    r"|exact(?:ly)? (?:one|phrase)",
    "detectable_format:json_format": r"\bjson\b",
    "detectable_format:multiple_sections": r"\bsections?\b|\bparts?\b|\bparagraph",
    "detectable_format:number_bullet_lists": r"bullet|\* ?(?:this|point)|\bpoints?\b",
    "detectable_format:number_highlighted_sections": r"highlight|\*[^*\n]+\*|italic|emphasi",
    "detectable_format:title": r"\btitle|<<|angular bracket",
    "keywords": r"keyword|include|exclude|contain|mention|\bwords?\b|\bletter|appear|avoid"
    r"|do not (?:use|say)|don't (?:use|say)",
    "language": r"language|\bin [A-Z][a-z]+\b|translate|entire(?:ly)?|only",
    "length_constraints": r"\bwords?\b|sentences?|paragraphs?|stanzas?|shorter|longer|less than"
    r"|more than|at least|at most|divider|\*{3}|lines?\b",
    "punctuation:no_comma": r"comma",
    "startend:end_checker": r"\bend\b|\bfinish|last|nothing else|no other words",
    "startend:quotation": r"quotation|\bquotes?\b|wrap",
}
TRIGGERS = {name: re.compile(pattern, re.IGNORECASE) for name, pattern in _FAMILY.items()}
"""What a sentence says that speaks of an instruction, by instruction id or its first half."""


def ablated_prompt(
    prompt: str, ids: Sequence[str], kwargs: Sequence[Mapping[str, Any]]
) -> str | None:
    """The prompt without its instructions, None where the rule cannot take them out.

    ``ids`` and ``kwargs`` are the row's ``instruction_id_list`` and ``kwargs``: a sentence that
    quotes a text argument (a keyword, an end phrase) speaks of its instruction too.
    """
    gaps = [*_SENTENCE.finditer(prompt)]
    starts = [0, *(gap.end() for gap in gaps)]
    ends = [*(gap.start() for gap in gaps), len(prompt)]
    pieces = [
        (prompt[a:b], prompt[a:c])
        for a, b, c in zip(starts, ends, [*starts[1:], len(prompt)], strict=True)
    ]
    dropped: set[int] = set()
    for name, given in zip(ids, kwargs, strict=True):
        mine = {at for at, (text, _) in enumerate(pieces) if _speaks(text, name, given)}
        if not mine:
            return None
        dropped |= mine
    left = "".join(whole for at, (_, whole) in enumerate(pieces) if at not in dropped).strip()
    return left if len(left.split()) >= LEAST_WORDS else None


def _speaks(sentence: str, name: str, given: Mapping[str, Any]) -> bool:
    trigger = TRIGGERS.get(name) or TRIGGERS.get(name.split(":")[0])
    if trigger is None:
        return False
    texts = [value for value in given.values() if isinstance(value, str)]
    quoted = any(len(text) > 3 and text.lower() in sentence.lower() for text in texts)
    return quoted or trigger.search(sentence) is not None
