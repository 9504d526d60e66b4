"""Open requests about a topic under a form that a check verifies: counts, case, marks, frames.

Every prompt is worded for this project: no six words in a row are those of a suite
(tests/recipe/test_gemma_split.py). An answer is made of the topic's plain sentences.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable

from recipe.gemma.row import LANGUAGES, TOPICS, Check, Row, sentences

ASK = (
    "Put together a short note on {t}.",
    "Share what you know about {t}.",
    "Introduce {t} to somebody new to them.",
    "I would like to read about {t}.",
    "What is worth knowing about {t}?",
    "Help me understand {t}.",
)
LANGUAGE_NAMES = {code: name for name, (code, _) in LANGUAGES.items()}
SMALL = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}


def ask(rng: random.Random, topic: str, *rules: str) -> str:
    """A request and its rules; now and then the rules come first."""
    parts = [rng.choice(ASK).format(t=topic), *rules]
    return " ".join(parts if rng.random() < 0.8 else [*rules, parts[0]])


def number(rng: random.Random, n: int) -> str:
    """A count in digits or in words."""
    return str(n) if rng.random() < 0.5 else SMALL[n]


def own_words(topic: str, texts: list[str], rng: random.Random, count: int) -> list[str]:
    """Words of five letters and more that occur in the texts and not in the topic's name."""
    found = {w.lower() for w in re.findall(r"[A-Za-z]{5,}", " ".join(texts))}
    usable = sorted(w for w in found if w not in topic)
    return rng.sample(usable, min(count, len(usable)))


def bullets(rng: random.Random, topic: str) -> Row:
    n = rng.randint(2, 6)
    lines = [f"* {line}" for line in sentences(rng, topic, n)]
    rule = rng.choice((
        "Reply as a list of {n} points marked by *.",
        "Use {n} bullets and no more, each on its own line after a *.",
        "I want {n} bulleted lines (* in front of each).",
    ))  # fmt: skip
    check: Check = ("detectable_format:number_bullet_lists", {"num_bullets": n})
    return Row(
        "bullets", ask(rng, topic, rule.format(n=number(rng, n))), "\n".join(lines), (check,)
    )


def numbered(rng: random.Random, topic: str) -> Row:
    n = rng.randint(2, 6)
    lines = [f"{i}. {line}" for i, line in enumerate(sentences(rng, topic, n), 1)]
    rule = f"Number your {number(rng, n)} points 1. 2. and so on."
    return Row("numbered", ask(rng, topic, rule), "\n".join(lines),
               (("bullets", {"exactly": n, "numbered": True}),))  # fmt: skip


def sentence_count(rng: random.Random, topic: str) -> Row:
    n = rng.randint(1, 5)
    told = {1: "one"} | SMALL
    rule, relation, limit = rng.choice((
        (f"Keep it to fewer than {told[n + 1]} sentences.", "less than", n + 1),
        (f"Take {told[n]} sentences or more.", "at least", n),
        (f"Stop after {told[n]} sentence{'s'[:n - 1]}.", "less than", n + 1),
    ))  # fmt: skip
    check: Check = ("length_constraints:number_sentences",
                    {"relation": relation, "num_sentences": limit})  # fmt: skip
    return Row("sentences", ask(rng, topic, rule), " ".join(sentences(rng, topic, n)), (check,))


def word_count(rng: random.Random, topic: str) -> Row:
    text = " ".join(sentences(rng, topic, rng.randint(1, 6)))
    n = len(re.findall(r"\w+", text))
    if rng.random() < 0.5 and n > 15:
        limit = n // 5 * 5 - rng.choice((0, 5))
        rule = rng.choice(("Use {n} words or more.", "Do not stay below {n} words."))
        relation = "at least"
    else:
        limit = (n // 5 + 1 + rng.randint(0, 2)) * 5
        rule = rng.choice(("Stay under {n} words.", "You have fewer than {n} words."))
        relation = "less than"
    check: Check = ("length_constraints:number_words", {"relation": relation, "num_words": limit})
    return Row("words", ask(rng, topic, rule.format(n=limit)), text, (check,))


def case(rng: random.Random, topic: str) -> Row:
    text = " ".join(sentences(rng, topic, rng.randint(1, 4)))
    if rng.random() < 0.5:
        rule = rng.choice(("Write small letters only.", "No capitals anywhere, please.",
                           "Type it without the shift key: lowercase."))  # fmt: skip
        return Row(
            "lower", ask(rng, topic, rule), text.lower(), (("change_case:english_lowercase", {}),)
        )
    rule = rng.choice(("Write it in CAPITALS.", "Shout: uppercase only.",
                       "Every letter has to be a capital."))  # fmt: skip
    return Row("upper", ask(rng, topic, rule), text.upper(), (("change_case:english_capital", {}),))


def commas(rng: random.Random, topic: str) -> Row:
    rule = rng.choice(("Leave out commas.", "Commas are forbidden.", "Not one comma, please."))
    text = " ".join(sentences(rng, topic, rng.randint(1, 4)))
    return Row("commas", ask(rng, topic, rule), text, (("punctuation:no_comma", {}),))


def keywords(rng: random.Random, topic: str) -> Row:
    lines = sentences(rng, topic, rng.randint(1, 4))
    words = own_words(topic, lines, rng, rng.randint(1, 2))
    rule = rng.choice(("Work in {w}.", "These have to appear: {w}.", "Your text needs {w}."))
    told = rule.format(w=" and ".join(f'"{w}"' if rng.random() < 0.3 else w for w in words))
    return Row("keywords", ask(rng, topic, told), " ".join(lines),
               (("keywords:existence", {"keywords": words}),))  # fmt: skip


def forbidden(rng: random.Random, topic: str) -> Row:
    lines = sentences(rng, topic, rng.randint(1, 4))
    other = [line for line in TOPICS[topic] if line not in lines]
    left = set(re.findall(r"\w+", " ".join(lines).lower()))
    words = [w for w in own_words(topic, other, rng, 2) if w not in left] or ["moreover"]
    rule = rng.choice(("Avoid {w}.", "Never say {w}.", "Do it without {w}."))
    return Row("forbidden", ask(rng, topic, rule.format(w=" or ".join(words))), " ".join(lines),
               (("keywords:forbidden_words", {"forbidden_words": words}),))  # fmt: skip


CLOSINGS = ("That is the whole story.", "Thanks for reading this!", "Now you know it.",
            "More on that tomorrow.", "I hope this helps.", "Have a lovely day!")  # fmt: skip
OPENINGS = ("Gladly", "Sure", "Well now", "Of course", "Dear reader", "Listen")


def ending(rng: random.Random, topic: str) -> Row:
    end, lines = rng.choice(CLOSINGS), sentences(rng, topic, rng.randint(1, 4))
    rule = rng.choice(('Close with "{e}"', "The last words must be: {e}", "Sign off by saying {e}"))
    return Row("ending", ask(rng, topic, rule.format(e=end)), " ".join([*lines, end]),
               (("startend:end_checker", {"end_phrase": end}),))  # fmt: skip


def opening(rng: random.Random, topic: str) -> Row:
    start, lines = rng.choice(OPENINGS), sentences(rng, topic, rng.randint(1, 3))
    rule = rng.choice(('Open with "{s}".', "Your first word is {s}.", "Let {s} come first."))
    return Row("opening", ask(rng, topic, rule.format(s=start)), f"{start}! {' '.join(lines)}",
               (("starts_with", {"text": start}),))  # fmt: skip


def title(rng: random.Random, topic: str) -> Row:
    head, lines = topic.capitalize(), sentences(rng, topic, rng.randint(1, 4))
    rule = rng.choice(("Put a heading like <<this>> on top.", "Above it place <<a title>>.",
                       "Name it inside << and >> first."))  # fmt: skip
    return Row("title", ask(rng, topic, rule), f"<<All about {head}>>\n\n{' '.join(lines)}",
               (("detectable_format:title", {}),))  # fmt: skip


def highlights(rng: random.Random, topic: str) -> Row:
    n = rng.randint(2, 3)
    lines = sentences(rng, topic, rng.randint(n, 4))
    marked = [re.sub(r"(\w+ \w+)(\W*)$", r"*\1*\2", x) if i < n else x for i, x in enumerate(lines)]
    rule = f"Mark {number(rng, n)} passages with *stars*."
    return Row(
        "highlights",
        ask(rng, topic, rule),
        " ".join(marked),
        (("detectable_format:number_highlighted_sections", {"num_highlights": n}),),
    )


def paragraphs(rng: random.Random, topic: str) -> Row:
    n = rng.randint(2, 4)
    lines = sentences(rng, topic, rng.randint(n, 6))
    parts = [" ".join(lines[i::n]) for i in range(n)]
    rule = rng.choice(("Divide it into {n} parts by lines of ***.",
                       "Make {n} paragraphs with *** between them."))  # fmt: skip
    return Row(
        "paragraphs",
        ask(rng, topic, rule.format(n=number(rng, n))),
        "\n\n***\n\n".join(parts),
        (("length_constraints:number_paragraphs", {"num_paragraphs": n}),),
    )


def quoted(rng: random.Random, topic: str) -> Row:
    rule = rng.choice(("Put quotation marks around all of it.", 'Begin and finish with a ".'))
    text = f'"{" ".join(sentences(rng, topic, rng.randint(1, 3)))}"'
    return Row("quoted", ask(rng, topic, rule), text, (("startend:quotation", {}),))


def postscript(rng: random.Random, topic: str) -> Row:
    lines = sentences(rng, topic, rng.randint(2, 4))
    rule = rng.choice(("Add an afterthought headed P.S.", "Finish it with a P.S. line."))
    return Row("postscript", ask(rng, topic, rule), f"{' '.join(lines[:-1])}\n\nP.S. {lines[-1]}",
               (("detectable_content:postscript", {"postscript_marker": "P.S."}),))  # fmt: skip


def sections(rng: random.Random, topic: str) -> Row:
    n = rng.randint(2, 3)
    parts = [f"Section {i}\n{line}" for i, line in enumerate(sentences(rng, topic, n), 1)]
    rule = f"Split it under the headings Section 1 to Section {n}."
    return Row("sections", ask(rng, topic, rule), "\n\n".join(parts),
               (("detectable_format:multiple_sections",
                 {"section_spliter": "Section", "num_sections": n}),))  # fmt: skip


def two_answers(rng: random.Random, topic: str) -> Row:
    lines = sentences(rng, topic, 4)
    rule = "Give me a choice of two versions, with ****** in between."
    return Row(
        "two answers",
        ask(rng, topic, rule),
        f"{' '.join(lines[:2])}\n******\n{' '.join(lines[2:])}",
        (("combination:two_responses", {}),),
    )


def language(rng: random.Random, topic: str) -> Row:
    code, (name, texts) = rng.choice(sorted((c, v) for c, v in BY_CODE.items()))
    prompt = rng.choice((
        "Tell a little everyday scene. Your language is {n}.",
        "Reply in {n}: what happens on a quiet day?",
        "In {n}, please: some lines on life in a village.",
        "Something short for a {n} reader, in that language alone.",
    )).format(n=name)  # fmt: skip
    return Row(
        "language", prompt, rng.choice(texts), (("language:response_language", {"language": code}),)
    )


BY_CODE = {code: (name, texts) for name, (code, texts) in LANGUAGES.items()}


def as_json(rng: random.Random, topic: str) -> Row:
    lines = [x.rstrip(".") for x in sentences(rng, topic, rng.randint(2, 3))]
    if rng.random() < 0.5:
        data: object = {"topic": topic, "facts": lines}
        rule = rng.choice(("Encode it as one JSON object with topic and facts.",
                           "Only a JSON object (keys: topic, facts), no prose."))  # fmt: skip
        schema = {"type": "object", "required": ["topic", "facts"]}
    else:
        data = lines
        rule = (
            f"Deliver a JSON array of {number(rng, len(lines))} strings without any text around it."
        )
        schema = {"type": "array", "minItems": len(lines), "maxItems": len(lines)}
    return Row(
        "json",
        ask(rng, topic, rule),
        json.dumps(data),
        (("detectable_format:json_format", {}), ("json_schema", {"schema": schema})),
    )


def combined(rng: random.Random, topic: str) -> Row:
    """Two or three rules at once, of those that can hold together."""
    n = rng.randint(1, 4)
    lines = sentences(rng, topic, n)
    end = rng.choice(CLOSINGS)
    words = own_words(topic, lines, rng, 1)
    limit = (len(" ".join([*lines, end]).split()) // 5 + 2) * 5
    rules: list[tuple[str, Check]] = [
        ("Leave out commas.", ("punctuation:no_comma", {})),
        (f"Work in {words[0]}.", ("keywords:existence", {"keywords": words})),
        (f"Stay under {limit} words.",
         ("length_constraints:number_words", {"relation": "less than", "num_words": limit})),
        (f"Close with: {end}", ("startend:end_checker", {"end_phrase": end})),
        ("Write small letters only.", ("change_case:english_lowercase", {})),
        ("Put a heading like <<this>> on top.", ("detectable_format:title", {})),
    ]  # fmt: skip
    chosen = rng.sample(rules, rng.choice((2, 2, 3)))
    checks = tuple(check for _, check in chosen)
    ids = {id for id, _ in checks}
    text = " ".join([*lines, end] if "startend:end_checker" in ids else lines)
    if "detectable_format:title" in ids:
        text = f"<<{topic}>>\n\n{text}"
    if "change_case:english_lowercase" in ids:
        text = text.lower()
    return Row("combined", ask(rng, topic, *(rule for rule, _ in chosen)), text, checks)


FORMS: tuple[Callable[[random.Random, str], Row], ...] = (
    bullets,
    numbered,
    sentence_count,
    word_count,
    case,
    commas,
    keywords,
    forbidden,
    ending,
    opening,
    title,
    highlights,
    paragraphs,
    quoted,
    postscript,
    sections,
    two_answers,
    language,
    as_json,
    combined,
    combined,
)
