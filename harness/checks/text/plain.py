"""One text that checks look at: its words, sentences and language, each computed once."""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property

from harness.checks.text.language import detect_language
from harness.checks.text.sentences import split_sentences
from harness.checks.text.tokens import word_tokens

_WORD = re.compile(r"\w+")


class Text:
    """A view of an answer with lazily derived pieces."""

    def __init__(self, value: str) -> None:
        self.value = value

    @cached_property
    def blank(self) -> bool:
        """Whether there is nothing but white space."""
        return not self.value.strip()

    @cached_property
    def lines(self) -> list[str]:
        """The text split at newlines (and only there: a lone CR is part of a line)."""
        return self.value.split("\n")

    @cached_property
    def lowered(self) -> str:
        """The text in lower case."""
        return self.value.lower()

    @cached_property
    def words(self) -> list[str]:
        """Runs of letters, digits and underscores."""
        return _WORD.findall(self.value)

    @cached_property
    def sentences(self) -> list[str]:
        """Sentences by Punkt's English model."""
        return split_sentences(self.value)

    @cached_property
    def tokens(self) -> list[str]:
        """Penn Treebank tokens of each sentence, in order."""
        return [token for sentence in self.sentences for token in word_tokens(sentence)]

    @cached_property
    def language(self) -> str | None:
        """ISO 639-1 code of the language, None when the text has no features to tell it by."""
        return detect_language(self.value)


def loose_variants(value: str) -> list[str]:
    """The eight views of IFEval's loose rule, the text itself first.

    Without the first line, without the last, without both (these three stripped), and all four
    without asterisks. Source: Zhou et al. 2023, section 3.2.
    """
    lines = value.split("\n")
    views = [value]
    views += ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return list(dict.fromkeys([*views, *(view.replace("*", "") for view in views)]))


_STRAIGHT = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′`´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
    }
)


def normal(text: str) -> str:
    """A text without case, accents, kinds of quotes and dashes, and runs of white space."""
    # Straightened first: NFKD makes a space with an accent of ´.
    split = unicodedata.normalize("NFKD", text.translate(_STRAIGHT).casefold())
    bare = "".join(letter for letter in split if not unicodedata.combining(letter))
    return " ".join(bare.split())
