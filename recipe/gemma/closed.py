"""Requests with one right answer: sums, choices, facts, small rewrites, tables, code, recall."""

from __future__ import annotations

import random
from collections.abc import Callable

from recipe.gemma.forms import CLOSINGS
from recipe.gemma.row import TOPICS, Row, sentences

KINDS = {
    "tool": ("hammer", "saw", "pliers", "chisel", "wrench"),
    "vegetable": ("carrot", "onion", "spinach", "leek", "cabbage"),
    "insect": ("ant", "wasp", "beetle", "moth", "cricket"),
    "instrument": ("flute", "drum", "trumpet", "harp", "banjo"),
    "vehicle": ("lorry", "tram", "scooter", "tractor", "van"),
    "piece of clothing": ("scarf", "glove", "jacket", "sock", "belt"),
    "tree": ("oak", "birch", "maple", "willow", "pine"),
    "drink": ("lemonade", "coffee", "milk", "cocoa", "cider"),
}
SEATS = {
    "Norway": "Oslo",
    "Peru": "Lima",
    "Kenya": "Nairobi",
    "Hungary": "Budapest",
    "Ireland": "Dublin",
    "Vietnam": "Hanoi",
    "Chile": "Santiago",
    "Finland": "Helsinki",
    "Cuba": "Havana",
    "Bulgaria": "Sofia",
    "Nepal": "Kathmandu",
    "Iraq": "Baghdad",
    "Ghana": "Accra",
    "Romania": "Bucharest",
    "Uruguay": "Montevideo",
    "Syria": "Damascus",
}
OPPOSITES = {
    "loud": "quiet", "heavy": "light", "narrow": "wide", "rough": "smooth", "empty": "full",
    "brave": "afraid", "shallow": "deep", "cheap": "expensive", "sharp": "blunt", "wet": "dry",
    "thick": "thin", "ancient": "modern", "weak": "strong", "lazy": "diligent",
}  # fmt: skip
PARTS = {
    "What do you call a baby sheep?": "lamb",
    "Which animal barks?": "dog",
    "What gas do people need to breathe?": "oxygen",
    "What do bees collect in flowers?": "nectar",
    "What melts into water?": "ice",
    "Which star lights our days?": "the Sun",
    "On which continent lies Egypt?": "Africa",
    "Which metal is drawn to a magnet?": "iron",
    "Who paints walls for a living?": "a painter",
    "What are grapes dried to?": "raisins",
    "How many legs has a spider?": "eight",
    "How many days has a leap year?": "366",
    "What is frozen rain called?": "hail",
    "Which meal do people eat at noon?": "lunch",
    "What do caterpillars turn into?": "butterflies",
    "Which bird cannot fly but swims well?": "penguin",
    "How many sides has a hexagon?": "six",
    "In which season do leaves fall?": "autumn",
    "What tool measures temperature?": "a thermometer",
    "Which organ pumps our blood?": "the heart",
}
NAMES = ("Ruth", "Tarek", "Ines", "Pavel", "Noor", "Greta", "Luis", "Hana", "Otis", "Wanda")
THINGS = ("buttons", "stamps", "marbles", "pencils", "shells", "coins", "tickets", "nails")
TOWNS = ("Lund", "Graz", "Porto", "Split", "Ghent", "Bergen", "Turin", "Leeds")
CODE = (
    ("half", "divides its argument by two", "n", "n / 2"),
    ("triple", "multiplies its argument by three", "n", "n * 3"),
    ("last", "gives the final item of a list", "items", "items[-1]"),
    ("shout", "turns a text into capitals", "text", "text.upper()"),
    ("is_long", "says whether a text has over ten characters", "text", "len(text) > 10"),
    ("total", "adds up the numbers of a list", "numbers", "sum(numbers)"),
    ("smallest", "finds the lowest of several numbers", "numbers", "min(numbers)"),
    ("is_negative", "says whether a number is below zero", "n", "n < 0"),
)
HEADERS = (("town", "guests"), ("name", "points"), ("item", "amount"), ("person", "visits"))


def arithmetic(rng: random.Random, _: str) -> Row:
    a, b = rng.randint(2, 60), rng.randint(2, 30)
    who, thing = rng.choice(NAMES), rng.choice(THINGS)
    prompt, value = rng.choice((
        (f"Sum up {a} and {b}.", a + b),
        (f"Take {min(a, b)} away from {max(a, b)}.", abs(a - b)),
        (f"{who} owns {a} {thing} and finds {b} more. Give the new count.", a + b),
        (f"{a % 10 + 2} boxes hold {b} {thing} each. Count the {thing}.", (a % 10 + 2) * b),
        (f"Compute {a % 10 + 2} * {b}.", (a % 10 + 2) * b),
    ))  # fmt: skip
    return Row("arithmetic", prompt, str(value), (("numeric_close", {"value": value}),))


def choice(rng: random.Random, _: str) -> Row:
    kind, other = rng.sample(sorted(KINDS), 2)
    right = rng.choice(KINDS[kind])
    options = [right, *rng.sample(KINDS[other], 2)]
    rng.shuffle(options)
    told = ", ".join(options[:-1]) + " or " + options[-1]
    prompt = rng.choice((
        f"Pick the {kind}: {told}. Nothing but that word.",
        f"{told.capitalize()}: name the {kind} and add no explanation.",
        f"One of {told} is a {kind}. Say just which.",
    ))  # fmt: skip
    return Row("choice", prompt, right, (
        ("choice", {"options": options, "answer": right, "ignore_case": True}),))  # fmt: skip


def yes_or_no(rng: random.Random, _: str) -> Row:
    kind, other = rng.sample(sorted(KINDS), 2)
    thing = rng.choice(KINDS[rng.choice((kind, other))])
    answer = "Yes" if thing in KINDS[kind] else "No"
    prompt = f"Would you call a {thing} a {kind}? A bare yes or no will do."
    return Row(
        "yes or no",
        prompt,
        answer,
        (("choice", {"options": ["yes", "no"], "answer": answer.lower(), "ignore_case": True}),),
    )


def fact(rng: random.Random, _: str) -> Row:
    if rng.random() < 0.4:
        prompt, answer = rng.choice(sorted(PARTS.items()))
        check = ("contains", {"text": answer.split()[-1], "ignore_case": True})
        return Row("fact", prompt, f"{answer[0].upper()}{answer[1:]}.", (check,))
    land, town = rng.choice(sorted(SEATS.items()))
    prompt = rng.choice(
        (f"From which city is {land} governed?", f"Name the seat of government of {land}.")
    )
    return Row("fact", prompt, f"{town}.", (("contains", {"text": town}),))


def opposite(rng: random.Random, _: str) -> Row:
    word, other = rng.choice(sorted(OPPOSITES.items()))
    if rng.random() < 0.5:
        word, other = other, word
    prompt = rng.choice((f"Which word means the reverse of {word}?", f"Give an antonym: {word}"))
    return Row("opposite", prompt, other, (("contains", {"text": other, "ignore_case": True}),))


def rewrite(rng: random.Random, topic: str) -> Row:
    line = rng.choice([x for x in TOPICS[topic] if len(x) < 60])
    words = rng.sample([w for pool in KINDS.values() for w in pool], 3)
    prompt, answer = rng.choice((
        (f"Copy this line in capitals: {line}", line.upper()),
        (f"Copy this line without capitals: {line}", line.lower()),
        (f"Repeat word for word: {line}", line),
        (f"Order alphabetically, commas between: {', '.join(words)}", ", ".join(sorted(words))),
        (f"Order backwards from Z to A, commas between: {', '.join(words)}",
         ", ".join(sorted(words, reverse=True))),
        (f"Join by hyphens: {' '.join(words)}", "-".join(words)),
        (f"Write {words[0]} from its last letter to its first.", words[0][::-1]),
        (f"Which letter does {words[0]} begin with?", words[0][0].upper()),
    ))  # fmt: skip
    return Row("rewrite", prompt, answer, (("equals", {"text": answer}),))


def reading(rng: random.Random, _: str) -> Row:
    who, other = rng.sample(NAMES, 2)
    town, elsewhere = rng.sample(TOWNS, 2)
    n, thing = rng.randint(3, 90), rng.choice(THINGS)
    text = (f"{who} moved from {town} to {elsewhere} and took {n} {thing} along. "
            f"{other} helped with the boxes.")  # fmt: skip
    question, answer = rng.choice((
        (f"Where did {who} live before?", town),
        (f"Where does {who} live now?", elsewhere),
        (f"Who lent {who} a hand?", other),
        (f"Which number of {thing} is mentioned?", str(n)),
    ))  # fmt: skip
    return Row("reading", f"{text}\n\n{question}", f"{answer}.", (("contains", {"text": answer}),))


def recall(rng: random.Random, _: str) -> Row:
    who, town, n = rng.choice(NAMES), rng.choice(TOWNS), rng.randint(3, 60)
    first, question, answer = rng.choice((
        (f"Please call me {who}.", "By what name do I go?", who),
        (f"I grew up in {town}.", "Remind me of my home town.", town),
        (f"The locker has number {n}.", "Tell me the locker's number again.", str(n)),
        (f"My sister {who} is visiting from {town}.", "Who is on a visit?", who),
    ))  # fmt: skip
    reply = rng.choice(("Understood.", "All right, noted.", "Good to know."))
    return Row("recall", question, f"{answer}.", (("contains", {"text": answer}),),
               history=((first, reply),))  # fmt: skip


def standing_rule(rng: random.Random, topic: str) -> Row:
    """A system message that sets a rule for the answers to come."""
    lines = sentences(rng, topic, rng.randint(1, 2))
    text, end = " ".join(lines), rng.choice((*CLOSINGS, "Ahoy!", "Over and out.", "Meow!"))
    name, role = (
        rng.choice(NAMES),
        rng.choice(("gardener", "captain", "librarian", "robot", "cook")),
    )
    prompt = f"What about {topic}?"
    system, answer, check = rng.choice(
        (
            (
                f"You play a {role}. Whatever you say, you close with: {end}",
                f"{text} {end}",
                ("startend:end_checker", {"end_phrase": end}),
            ),
            (
                f"A {role} speaks here, always in capitals.",
                text.upper(),
                ("change_case:english_capital", {}),
            ),
            (
                f"You are a calm {role} without a shift key: lowercase only.",
                text.lower(),
                ("change_case:english_lowercase", {}),
            ),
            (
                f"As {name} you name yourself in each reply.",
                f"{name} here. {text}",
                ("keywords:existence", {"keywords": [name]}),
            ),
            (
                f"You are a {role} of few words: under 20 words a reply.",
                lines[0],
                ("length_constraints:number_words", {"relation": "less than", "num_words": 20}),
            ),
            ("Replies hold no commas.", text, ("punctuation:no_comma", {})),
        )
    )
    return Row("standing rule", prompt, answer, (check,), system=system)


def table(rng: random.Random, _: str) -> Row:
    columns, n = rng.choice(HEADERS), rng.randint(2, 5)
    firsts = rng.sample(
        TOWNS if columns[0] == "town" else NAMES if columns[0] != "item" else THINGS, n
    )
    lines = [",".join(columns), *(f"{x},{rng.randint(1, 99)}" for x in firsts)]
    prompt = rng.choice((
        f"Make up {n} records as CSV under {columns[0]},{columns[1]} and send no other text.",
        f"CSV please: columns {columns[0]},{columns[1]}, then {n} made-up lines.",
    ))  # fmt: skip
    return Row("table", prompt, "\n".join(lines),
               (("csv_table", {"columns": list(columns), "rows": n}),))  # fmt: skip


def code(rng: random.Random, _: str) -> Row:
    name, does, given, result = rng.choice(CODE)
    prompt = rng.choice(
        (f"In Python, define {name}: it {does}.", f"Code a Python function {name} which {does}.")
    )
    return Row("code", prompt, f"def {name}({given}):\n    return {result}",
               (("valid_python", {}), ("contains", {"text": f"def {name}("})))  # fmt: skip


def placeholders(rng: random.Random, _: str) -> Row:
    fields = rng.sample(("guest", "day", "hour", "street", "host", "phone", "gift"), 3)
    occasion = rng.choice(("a house-warming", "a chess evening", "a boat trip", "a choir concert"))
    a, b, c = (f"[{x}]" for x in fields)
    invitation = f"you are invited to {occasion}. Please note {b} and bring {c}."
    text = f"Dear {a},\n\n{invitation}\n\nSee you soon!"
    prompt = f"Draft a card for {occasion}; leave three blanks like [this] to fill in."
    return Row(
        "placeholders",
        prompt,
        text,
        (("detectable_content:number_placeholders", {"num_placeholders": 3}),),
    )


def verse(rng: random.Random, topic: str) -> Row:
    n = rng.randint(2, 4)
    lines = [x.rstrip(".") for x in sentences(rng, topic, n)]
    prompt = f"Verses on {topic}, please: {n} lines, not more and not fewer."
    return Row("verse", prompt, "\n".join(lines), (("lines", {"exactly": n}),))


CLOSED: tuple[Callable[[random.Random, str], Row], ...] = (
    arithmetic,
    arithmetic,
    choice,
    choice,
    yes_or_no,
    fact,
    fact,
    opposite,
    rewrite,
    reading,
    recall,
    standing_rule,
    standing_rule,
    table,
    code,
    placeholders,
    verse,
)
