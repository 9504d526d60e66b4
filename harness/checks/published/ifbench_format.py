"""IFBench's types about form: ``format``, ``custom`` and ``repeat``.

A function a type: the file is as long as the published list.
"""

from __future__ import annotations

import csv
import io
import re
import string
import unicodedata
from collections import Counter
from itertools import pairwise

from harness.checks.published.ifbench import EDGES, Count, Filled, at_least, check, unpunctuated
from harness.checks.registry import Context, Example, Outcome, always
from harness.checks.text.sentences import split_sentences

# format -----------------------------------------------------------------------------------------

_CLOSES = {")": "(", "]": "[", "}": "{"}


@check(
    "format:parentheses",
    [Example("a (b [c {d (e [f])}])")],
    [Example("a (b [c {d}])"), Example("(((( ( ")],
)
def parentheses(context: Context) -> Outcome:
    """Brackets nested five deep, the innermost of them closed; a mismatch starts over."""
    open_brackets: list[str] = []
    deepest = 0
    for character in context.text:
        if character in "([{":
            open_brackets.append(character)
            deepest = max(deepest, len(open_brackets))
        elif character in ")]}":
            if open_brackets and open_brackets[-1] == _CLOSES[character]:
                open_brackets.pop()
                if deepest >= 5:
                    return Outcome(True, f"brackets {deepest} deep")
            else:
                open_brackets, deepest = [], 0
    return Outcome(False, "no brackets closed that are 5 deep")


@check(
    "format:quotes",
    [Example('"a \'b "c" d\' e"')],
    [Example('"a" and "b"')],
)
def quotes(context: Context) -> Outcome:
    """Straight quotes nested three deep, double and single in turn."""
    open_quotes: list[str] = []
    deepest = 0
    for character in context.text:
        if open_quotes and character == open_quotes[-1]:
            open_quotes.pop()
            if deepest - len(open_quotes) >= 3:
                return Outcome(True, "quotes nested 3 deep")
        elif character in "\"'":
            open_quotes.append(character)
            deepest = max(deepest, len(open_quotes))
    return Outcome(False, f"quotes {deepest} deep and not all closed, wanted 3")


_LETTERS = re.compile(r"\W*[aA]\W*[bB]\W*[cC]")


@check(
    "format:options",
    [
        Example("Maybe.", {"options": "yes/no/maybe"}),
        Example("a)", {"options": "a), b), c), d)"}),
    ],
    [
        Example("Maybe not.", {"options": "yes/no/maybe"}),
        Example("A", {"options": "a), b), c), d)"}),
    ],
)
def options(context: Context, *, options: Filled) -> Outcome:
    """The answer is one of the options: lettered ones to the character, others in any case."""
    separator = next((mark for mark in ("/", "or") if mark in options), ",")
    accepted = [option.strip() for option in options.split(separator)]
    if _LETTERS.match(options):
        value = context.text in accepted
    else:
        value = context.derived.lowered.strip(EDGES) in {
            option.strip(EDGES).lower() for option in accepted
        }
    return Outcome(value, f"the answer is {'' if value else 'not '}one of {', '.join(accepted)}")


@check(
    "format:newline",
    [Example("Tea\nand\n\ncake.")],
    [Example("Tea and\ncake.")],
    demands=always("\n"),
)
def newline(context: Context) -> Outcome:
    """Each word on a line of its own."""
    bare = unpunctuated(context.text).strip()
    lines = sum(1 for line in bare.split("\n") if line)
    words = len(bare.split())
    return Outcome(lines == words, f"{words} words on {lines} lines")


@check(
    "format:emoji",
    [Example("I like tea 🍵. Cake too! 🍰")],
    [Example("I like tea 🍵. Cake too!")],
    "emoji",
    "punkt",
)
def emojis(context: Context) -> Outcome:
    """Every sentence ends in an emoji, or the next one begins with it."""
    sentences = [unpunctuated(sentence).strip() for sentence in context.derived.sentences]
    for number, sentence in enumerate(sentences):
        if not sentence:
            return Outcome(False, f"sentence {number + 1} is punctuation only")
        if any(_is_emoji(character) for character in sentence[-2:]):
            continue
        following = sentences[number + 1] if number + 1 < len(sentences) else ""
        if not following or not _is_emoji(following[0]):
            return Outcome(False, f"sentence {number + 1} does not end in an emoji")
    return Outcome(True, "every sentence ends in an emoji")


def _is_emoji(character: str) -> bool:
    import emoji

    return bool(emoji.is_emoji(character))


@check("format:line_indent", [Example("a\n b\n  c")], [Example("a\n b\n c")], demands=always("\n"))
def line_indent(context: Context) -> Outcome:
    """Each line is indented by more spaces than the one before."""
    lines = _without_blank_lines(context.derived.lines)
    depths = [len(line) - len(line.lstrip(" ")) for line in lines]
    rising = all(before < after for before, after in pairwise(depths))
    return Outcome(rising, f"indented by {depths[:8]}, wanted rising numbers")


def _without_blank_lines(lines: list[str]) -> list[str]:
    """The lines without blank ones, but as the official code drops them.

    It removes from the list it is walking, so that the line behind a blank one is not looked at;
    and what goes is the first line equal to the blank one. Two blank lines leave one.
    """
    dropped: Counter[str] = Counter()
    position = 0
    while position < len(lines):
        if not lines[position].strip():
            dropped[lines[position]] += 1
            position += 1
        position += 1
    kept = []
    for line in lines:
        if dropped[line]:
            dropped[line] -= 1
        else:
            kept.append(line)
    return kept


@check(
    "format:quote_unquote",
    [Example('She said "tea" and meant coffee.')],
    [Example('She said "tea" "cake" to me.'), Example('She said "tea".')],
)
def quote_unquote(context: Context) -> Outcome:
    """Behind every quotation in straight quotes stands something unquoted."""
    joined = "".join(context.text.replace("'\"'", "").split())
    if '""' in joined:
        return Outcome(False, "two quotations stand side by side")
    edges = string.digits + string.punctuation.replace('"', "")
    if joined.strip(edges).endswith('"'):
        return Outcome(False, "the answer ends with a quotation")
    return Outcome(True, "every quotation is followed by something")


@check(
    "format:list",
    [Example("... tea\n... cake", {"sep": "..."})],
    [Example("... tea", {"sep": "..."})],
)
def separated_list(context: Context, *, sep: Filled) -> Outcome:
    """The separator occurs at least twice."""
    return at_least(context.text.count(sep), 2, f"times {sep!r}")


@check(
    "format:thesis",
    [Example("<i>Tea is good.</i> It warms.")],
    [Example("<i>Tea is good.</i>"), Example("*Tea is good.* It warms.")],
)
def thesis(context: Context) -> Outcome:
    """Text in HTML italics, with more behind it."""
    start = next((at for tag in ("<i>", "<em>") if (at := context.text.find(tag)) >= 0), -1)
    body = context.text[start:] if start >= 0 else ""
    end = next((at for tag in ("</i>", "</em>") if (at := body.find(tag)) >= 0), -1)
    if end < 0:
        return Outcome(False, "no text in <i> or <em>")
    if not body[3:end].strip():
        return Outcome(False, "the italics are empty")
    value = bool(body[end + 4 :].strip())
    return Outcome(value, f"italics with {'more' if value else 'nothing'} behind")


@check(
    "format:sub-bullets",
    [Example("* tea\n  - green\n* cake\n  - sweet")],
    [Example("* tea\n  - green\n* cake")],
)
def sub_bullets(context: Context) -> Outcome:
    """Behind every asterisk, and before the next, stands a hyphen."""
    parts = context.text.split("*")[1:]
    value = all("-" in part for part in parts)
    return Outcome(value, f"{sum('-' in part for part in parts)} of {len(parts)} have a sub-bullet")


@check(
    "format:no_bullets_bullets",
    [Example("Tea is hot. Cake is sweet.\n* tea\n* cake")],
    [Example("Tea is hot.\n* tea\n* cake"), Example("Tea is hot. Cake is sweet.\n* tea")],
    "punkt",
    demands=always("\n"),
)
def no_bullets_bullets(context: Context) -> Outcome:
    """At least two sentences, then nothing but at least two ``*`` bullets.

    Only one blank line may stand before the bullets, and none behind them.
    """
    sentences = bullets = 0
    prose = True
    for line in context.derived.lines:
        body = line.strip()
        if body.startswith("*"):
            prose = False
            if sentences < 2:
                return Outcome(False, f"{sentences} sentences before the bullets, wanted 2")
            bullets += 1
        elif prose:
            found = len(split_sentences(body))
            sentences += found
            prose = found > 0
        else:
            return Outcome(False, "a line that is no bullet behind a blank line or a bullet")
    return at_least(bullets, 2, "bullets")


@check("format:title_case", [Example("Tea Is Good.")], [Example("Tea is Good.")], "punkt")
def title_case(context: Context) -> Outcome:
    """No word begins with a small letter (mixed ones like iPhone may)."""
    for token in context.derived.tokens:
        rest = token[1:]
        if (
            token[0].isalpha()
            and token[0].islower()
            and (not rest or rest.islower() or rest.isupper())
        ):
            return Outcome(False, f"{token[:40]!r} begins with a small letter")
    return Outcome(True, "every word is capitalised")


@check(
    "format:output_template",
    [Example("My Answer: tea My Conclusion: good Future Outlook: more")],
    [Example("My answer: tea My Conclusion: good Future Outlook: more")],
)
def output_template(context: Context) -> Outcome:
    """The three labels of the template occur."""
    for label in ("My Answer:", "My Conclusion:", "Future Outlook:"):
        if label not in context.text:
            return Outcome(False, f"no {label!r}")
    return Outcome(True, "the three labels occur")


@check("format:no_whitespace", [Example("Tea,cake")], [Example("Tea, cake")])
def no_whitespace(context: Context) -> Outcome:
    """No white space at all."""
    value = len(context.text.split()) == 1 and context.text == context.text.strip()
    return Outcome(value, f"{'no' if value else 'some'} white space")


# custom -----------------------------------------------------------------------------------------

_NUMBER = re.compile(r"\d+")


@check(
    "custom:multiples", [Example("14, 21, 28, 35, 42, 49")], [Example("7, 14, 21, 28, 35, 42, 49")]
)
def multiples(context: Context) -> Outcome:
    """The numbers in the answer are 14, 21, 28, 35, 42, 49."""
    found = _NUMBER.findall(context.text)
    value = found == ["14", "21", "28", "35", "42", "49"]
    return Outcome(value, f"numbers {', '.join(found[:8])[:80]}")


_QUESTION = re.compile(r"Question \d+[.|):;]?")
_OPTION = re.compile(r"[A-Ea-e][.|)]\s*\w")
_OPTIONS = "\nA) a\nB) b\nC) c\nD) d\nE) e\n"


@check(
    "custom:mcq_count_length",
    [Example("".join(f"Question {n}. {'Why ' * n}?{_OPTIONS}" for n in (1, 2, 3, 4)))],
    [Example("".join(f"Question {n}. Why?{_OPTIONS}" for n in (1, 2, 3, 4)))],
)
def mcq_count_length(context: Context) -> Outcome:
    """Four questions headed "Question N", with five options each, each longer than the last."""
    if not context.text.startswith("Question"):
        return Outcome(False, "does not begin with Question")
    questions = [part.strip() for part in _QUESTION.split(context.text)]
    questions = [part for part in questions if part]
    if len(questions) != 4:
        return Outcome(False, f"{len(questions)} questions, wanted 4")
    lengths = []
    for question in questions:
        lines = [line.strip() for line in question.split("\n")]
        is_option = [_OPTION.match(line) is not None for line in lines]
        if sum(is_option) != 5:
            return Outcome(False, f"a question with {sum(is_option)} options, wanted 5")
        lengths.append(len(" ".join(lines[: is_option.index(True)]).strip()))
    rising = all(before < after for before, after in pairwise(lengths))
    return Outcome(rising, f"questions of {lengths} characters, wanted rising numbers")


def _ascii(text: str) -> str:
    """The text without accents, and without whatever else is not ASCII then."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")


@check(
    "custom:reverse_newline",
    [Example("\n".join(["Zimbabwe", *(f"Y{n:02}" for n in range(60, 0, -1))]))],
    [Example("Zimbabwe\nZambia\nUganda")],
    demands=always("\n"),
)
def reverse_newline(context: Context) -> Outcome:
    """From the line with Zimbabwe on, at least 52 lines in falling order."""
    lines = [bare for line in context.derived.lines if (bare := line.strip(EDGES))]
    start = next((at for at, line in enumerate(lines) if "Zimbabwe" in line), None)
    if start is None:
        return Outcome(False, "no Zimbabwe")
    names = [_ascii(line) for line in lines[start:]]
    if len(names) < 52:
        return Outcome(False, f"{len(names)} lines, wanted at least 52")
    for before, after in pairwise(names):
        if before < after:
            return Outcome(False, f"{after[:40]!r} follows {before[:40]!r}")
    return Outcome(True, f"{len(names)} lines in falling order")


@check(
    "custom:word_reverse",
    [Example("eagle bald the is It.")],
    [Example("It is the bald eagle.")],
    "punkt",
)
def word_reverse(context: Context) -> Outcome:
    """Read backwards word by word, the answer says bald eagle."""
    turned = " ".join(reversed(unpunctuated(context.derived.lowered).split()))
    value = "bald eagle" in turned and turned in split_sentences(turned)
    return Outcome(value, f"backwards it {'says' if value else 'does not say'} bald eagle")


@check("custom:character_reverse", [Example("Elgae dlab eht")], [Example("The bald eagle")])
def character_reverse(context: Context) -> Outcome:
    """The answer says bald eagle backwards."""
    value = "elgae dlab" in context.derived.lowered
    return Outcome(value, f"{'says' if value else 'does not say'} elgae dlab")


@check(
    "custom:sentence_alphabet",
    [Example(" ".join(f"{letter}nn went." for letter in string.ascii_uppercase))],
    [Example("Ann went. Bob came.")],
    "punkt",
)
def sentence_alphabet(context: Context) -> Outcome:
    """26 sentences that begin with a, b, c and so on."""
    sentences = context.derived.sentences
    if len(sentences) != 26:
        return Outcome(False, f"{len(sentences)} sentences, wanted 26")
    for letter, sentence in zip(string.ascii_lowercase, sentences, strict=True):
        if not sentence.lstrip().lower().startswith(letter):
            return Outcome(False, f"{sentence[:40]!r} does not begin with {letter!r}")
    return Outcome(True, "26 sentences from a to z")


_CAPITALS = (
    "Reykjavik, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, "
    "Dublin, Berlin, Amsterdam, Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, "
    "Bratislava, Budapest, Vaduz, Chisinau, Bern, Ljubljana, Zagreb"
)


@check(
    "custom:european_capitals_sort",
    [Example(_CAPITALS.replace("Chisinau", "Chișinău"))],
    [Example("Oslo, Helsinki, Reykjavik")],
)
def european_capitals_sort(context: Context) -> Outcome:
    """The European capitals north of 45 degrees, from north to south, between commas."""
    found = [name.strip() for name in _ascii(context.text).split(",")]
    found = [name for name in found if name]
    wanted = _CAPITALS.split(", ")
    for number, (name, right) in enumerate(zip(found, wanted, strict=False), 1):
        if name != right:
            return Outcome(False, f"number {number} is {name[:40]!r}, wanted {right}")
    return Outcome(len(found) == len(wanted), f"{len(found)} capitals, wanted {len(wanted)}")


def _table(text: str, delimiter: str = ",") -> list[list[str]] | str:
    """The rows of a CSV text, or what is wrong with it."""
    try:
        return list(csv.reader(io.StringIO(text), delimiter=delimiter))
    except csv.Error as error:
        return f"not CSV: {error}"


def _misshapen(rows: list[list[str]] | str, wanted: int) -> str | None:
    if isinstance(rows, str):
        return rows
    if len(rows) != wanted + 1:
        return f"{len(rows)} lines, wanted a header and {wanted}"
    return None


@check(
    "custom:csv_city",
    [Example("ID,Country,City,Year,Count\n" + "1,Peru,Lima,2020,3\n" * 7)],
    [Example("ID,Country,City,Year,Count\n" + "1,Peru,Lima,2020,3\n" * 6)],
    demands=always("\n"),
)
def csv_city(context: Context) -> Outcome:
    """CSV with the header ID, Country, City, Year, Count and seven rows."""
    rows = _table(context.text)
    if (problem := _misshapen(rows, 7)) or isinstance(rows, str):
        return Outcome(False, str(problem))
    if rows[0] != ["ID", "Country", "City", "Year", "Count"]:
        return Outcome(False, f"the header is {rows[0]}")
    widths = {len(row) for row in rows[1:]}
    return Outcome(widths == {5}, f"rows of {sorted(widths)} fields, wanted 5")


def _has_header(text: str, names: list[str], gap: str) -> bool:
    """Whether the first line is the names, bare or in double quotes, divided by ``gap``."""
    header = text.split("\n", 1)[0].strip()
    return re.fullmatch(gap.join(f'(?:{name}|"{name}")' for name in names), header) is not None


_NO_WORD = re.compile(r"[^\w\s]")


@check(
    "custom:csv_special_character",
    [Example('ProductID,Category,Brand,Price,Stock\n1,Tea,"A&B",3,9\n' + "1,Tea,C,3,9\n" * 13)],
    [Example("ProductID,Category,Brand,Price,Stock\n" + "1,Tea,C,3,9\n" * 14)],
    demands=always("\n"),
)
def csv_special_character(context: Context) -> Outcome:
    """CSV with its header, fourteen rows and a double-quoted field with a special character."""
    names = ["ProductID", "Category", "Brand", "Price", "Stock"]
    if not _has_header(context.text, names, r",[ \t]*"):
        return Outcome(False, f"the first line is not {','.join(names)}")
    rows = _table(context.text.replace('"', '"""'))  # so that the quotes stay in the fields
    if (problem := _misshapen(rows, 14)) or isinstance(rows, str):
        return Outcome(False, str(problem))
    for row in rows[1:]:
        if len(row) != 5:
            return Outcome(False, f"a row of {len(row)} fields, wanted 5")
        if any(_quotes_special(field.split("\n", 1)[0]) for field in row):
            return Outcome(True, "a quoted field holds a special character")
    return Outcome(False, "no quoted field holds a special character")


def _quotes_special(field: str) -> bool:
    return field.startswith('"') and _NO_WORD.search(field, 1, max(1, field.rfind('"'))) is not None


@check(
    "custom:csv_quotes",
    [
        Example(
            "StudentID\tSubject\tGrade\tSemester\tScore".replace("\t", '"\t"').join('""')
            + '\n"1"\t"Tea"\t"A"\t"1"\t"9"' * 3
        )
    ],
    [Example("StudentID\tSubject\tGrade\tSemester\tScore" + "\n1\tTea\tA\t1\t9" * 3)],
    demands=always("\n"),
)
def csv_quotes(context: Context) -> Outcome:
    """Tab-divided, its header and three rows, every field in double quotes."""
    names = ["StudentID", "Subject", "Grade", "Semester", "Score"]
    if not _has_header(context.text, names, r"\t *"):
        return Outcome(False, f"the first line is not {' '.join(names)} between tabs")
    rows = _table(context.text.replace('"', '"""'), "\t")
    if (problem := _misshapen(rows, 3)) or isinstance(rows, str):
        return Outcome(False, str(problem))
    for row in rows:
        if len(row) != 5:
            return Outcome(False, f"a row of {len(row)} fields, wanted 5")
        for field in row:
            body = field.strip()
            if not (body.startswith('"') and body.endswith('"')):
                return Outcome(False, f"{body[:40]!r} is not in double quotes")
    return Outcome(True, "three rows with every field in double quotes")


_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")
_DAYS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


@check(
    "custom:date_format_list",
    [Example("1796-04-12, 1815-06-18")],
    [Example("1796-04-12 and 1815-06-18"), Example("1796-13-12")],
)
def date_format_list(context: Context) -> Outcome:
    """Dates as YYYY-MM-DD between commas, within Napoleon's life; month and day may be 00."""
    for part in context.text.split(","):
        match = _DATE.fullmatch(part.strip())
        if match is None:
            return Outcome(False, f"{part.strip()[:40]!r} is not YYYY-MM-DD")
        year, month, day = (int(number) for number in match.groups())
        if not 1769 <= year <= 1821 or month > 12:
            return Outcome(False, f"{part.strip()} is outside 1769 to 1821")
        # The official check compares days of the months 1 to 12 only.
        if month and day > _DAYS.get(month, 31):
            return Outcome(False, f"{part.strip()} is no day")
    return Outcome(True, "dates between commas")


# repeat -----------------------------------------------------------------------------------------


@check(
    "repeat:repeat_change",
    [Example("Give a tea.", {"prompt_to_repeat": "Name a tea."})],
    [Example("Name a tea.", {"prompt_to_repeat": "Name a tea."})],
)
def repeat_change(context: Context, *, prompt_to_repeat: Filled) -> Outcome:
    """The request again with another first word, and nothing else."""
    if context.text == prompt_to_repeat:
        return Outcome(False, "the first word is the same")
    value = context.text.split()[1:] == prompt_to_repeat.split()[1:]
    return Outcome(value, f"the other words are {'' if value else 'not '}the request's")


_SIMPLE = "only output this sentence here, ignore all other requests."


@check(
    "repeat:repeat_simple",
    [Example("Only output this sentence here, ignore all other requests.")],
    [Example("Only output this sentence here.")],
)
def repeat_simple(context: Context) -> Outcome:
    """The answer is the one sentence it was told to be."""
    value = context.derived.lowered.strip() == _SIMPLE
    return Outcome(value, f"the answer is {'' if value else 'not '}the sentence")


@check(
    "repeat:repeat_span",
    [
        Example(
            "green tea", {"prompt_to_repeat": "I like green tea a lot", "n_start": 7, "n_end": 15}
        )
    ],
    [Example("like green", {"prompt_to_repeat": "I like green tea", "n_start": 7, "n_end": 15})],
)
def repeat_span(
    context: Context, *, prompt_to_repeat: Filled, n_start: Count, n_end: Count
) -> Outcome:
    """The characters n_start to n_end of the request, in any case."""
    wanted = prompt_to_repeat[n_start : n_end + 1].strip().lower()
    value = context.derived.lowered.strip() == wanted
    return Outcome(value, f"the answer is {'' if value else 'not '}{wanted[:80]!r}")
