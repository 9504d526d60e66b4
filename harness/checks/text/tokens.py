"""Words as the Penn Treebank writes them: punctuation apart, contractions split.

The conventions are the Treebank's (Marcus et al. 1993); where its descriptions leave a choice
(Unicode quotes, ellipses, runs of brackets) this follows what the IFEval and IFBench verdicts
show. Each pass is linear in the text.
"""

from __future__ import annotations

import re

_OPENING = [
    (re.compile("[«“‘„]|`+"), r" \g<0> "),
    (re.compile(r'^"'), "``"),
    (re.compile("``"), " `` "),
    # A straight double quote after a space or an opening bracket opens a quotation.
    (re.compile(r"""(?<=[ (\[{<])(?:"|'')"""), " `` "),
    # 'a cat' -> the quote stands apart before a one-letter word, but not in 's, 'm, 't, 'd, 'n.
    (re.compile(r"'(?=\w\b)(?![mtsdn])", re.IGNORECASE), "' "),
]
_FINAL_PERIOD = re.compile(r"""(?<=[^.])\.([\])}>"'»”’ ]*)$""")
_BARE_FINAL_PERIOD = re.compile(r"""(?<=[^.])\.([\])}>"']*)$""")
_APART = [
    # The character after is consumed, so that of "::" only the first stands apart.
    (re.compile(r"([:,])(\D)"), r" \1 \2"),
    (re.compile(r"[:,]$"), r" \g<0> "),
    (re.compile(r"\.{2,}"), r" \g<0> "),
    (re.compile(r"[;@#$%&]"), r" \g<0> "),
]
_LATE = [
    (re.compile(r"[?!]"), r" \g<0> "),
    (re.compile(r"(?<=[^'])' "), " ' "),
    (re.compile(r"[*\]\[(){}<>]"), r" \g<0> "),
    (re.compile("--"), " -- "),
]
_CLOSING = [
    (re.compile("[»”’]"), r" \g<0> "),
    (re.compile(r"""''|\""""), " '' "),
]
_CLITIC = [
    (re.compile(r"(?<=[^' ])(?:'[sSmMdD]|') "), r" \g<0>"),
    (re.compile(r"(?<=[^' ])(?:'ll|'LL|'re|'RE|'ve|'VE|n't|N'T) "), r" \g<0>"),
]
_JOINED = re.compile(
    r"\b(?:(can)(not)|(d)('ye)|(gim|lem)(me)|(gon)(na)|(got)(ta)|(more)('n))\b"
    r"|\b(wan)(na)(?=\s)|(?<= )('t)(is|was)\b",
    re.IGNORECASE,
)


def word_tokens(sentence: str) -> list[str]:
    """The tokens of one sentence; an opening straight quote reads ````, a closing one ``''``.

    >>> word_tokens("He can't, \\"really\\".")
    ['He', 'ca', "n't", ',', '``', 'really', "''", '.']
    """
    text = sentence
    for pattern, replacement in _OPENING:
        text = pattern.sub(replacement, text)
    text = _final_period(text, _FINAL_PERIOD, " . {} ")
    for pattern, replacement in _APART:
        text = pattern.sub(replacement, text)
    text = _final_period(text, _BARE_FINAL_PERIOD, " .{} ")
    for pattern, replacement in _LATE:
        text = pattern.sub(replacement, text)
    text = f" {text} "
    for pattern, replacement in _CLOSING:
        text = pattern.sub(replacement, text)
    text = " ".join(text.split()).join("  ")
    for pattern, replacement in _CLITIC:
        text = pattern.sub(replacement, text)
    text = _JOINED.sub(lambda match: f" {' '.join(filter(None, match.groups()))} ", text)
    return text.split()


def _final_period(text: str, pattern: re.Pattern[str], replacement: str) -> str:
    """Set the sentence's last period apart, searching only behind the last word."""
    body = text.rstrip()
    match = pattern.search(body, max(0, body.rfind(".") - 1))
    if match is None:
        return text
    return body[: match.start()] + replacement.format(match[1])
