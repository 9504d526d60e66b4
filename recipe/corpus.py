"""Pretraining text: an endless, seeded stream of short documents about the closed world.

Articles, lists, records, question-and-answer pages, quiz sheets, dialogues, letters, recipes and
small programs. Quiz sheets (questions without answers) are what makes a bare question continue
with further questions. Nothing here is copied from anywhere; the text is dedicated to CC0.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator

from recipe.world import GENERIC_QUESTIONS, GENERIC_STATEMENTS, POOLS, Entity, Fact, World

FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")

# What a gap leaves out of a program where the rest gives it away: name, arguments, condition.
PLACES = tuple(
    re.compile(pattern)
    for pattern in (r"def (\w+)\(", r"def \w+\((\w+, \w+)\)", r"    if( \w+ > \d+):")
)

# Everyday words that carry no fact: letters and recipes use them, and so do the keyword tasks.
KEYWORDS = [
    "window",
    "garden",
    "summer",
    "winter",
    "journey",
    "letter",
    "market",
    "basket",
    "candle",
    "ladder",
    "pocket",
    "story",
    "morning",
    "evening",
    "friend",
    "family",
    "kitchen",
    "bottle",
    "street",
    "bridge",
    "corner",
    "picture",
    "paper",
    "pencil",
    "table",
    "chair",
    "blanket",
    "pillow",
    "button",
    "needle",
    "hammer",
    "bucket",
    "shovel",
    "barrel",
    "wagon",
    "engine",
    "anchor",
    "compass",
    "island",
    "harbour",
    "castle",
    "tower",
    "palace",
    "temple",
    "school",
    "station",
    "village",
    "valley",
    "meadow",
    "forest",
    "river",
    "mountain",
    "cloud",
    "star",
    "moon",
    "planet",
    "comet",
    "shadow",
    "silence",
    "answer",
    "question",
    "secret",
    "treasure",
    "puzzle",
    "riddle",
    "promise",
    "present",
    "birthday",
    "holiday",
    "festival",
    "dance",
    "song",
    "rhythm",
    "melody",
    "theatre",
    "museum",
    "library",
    "hospital",
    "office",
    "factory",
    "workshop",
    "cellar",
    "attic",
    "balcony",
    "curtain",
    "carpet",
    "mirror",
    "lantern",
    "whistle",
    "marble",
    "ribbon",
    "feather",
    "pebble",
    "acorn",
    "maple",
    "walnut",
    "cinnamon",
    "ginger",
    "pepper",
    "butter",
    "breakfast",
    "dinner",
    "supper",
    "teapot",
    "saucer",
    "spoon",
    "napkin",
    "apron",
    "jacket",
    "sweater",
    "mitten",
    "umbrella",
]

# What examiners add to a question. None of it is the wording of a tuning constraint.
REMARKS = (
    "Write clearly.", "Think about it.", "Use a pen.", "Do not guess.", "Use the left column.",
    "Take your time.", "Leave a line free.", "Put your name on the sheet.", "Check your spelling.",
    "This counts {n} points.", "Hand it in before noon.", "Remember the {k} from the last lesson.",
    "You may draw a {k}.", "Close the {k} first.", "Copy the question: it is number {n}.",
    "Answer in your own words.", "Explain it to a {k} maker.", "All pages must be numbered.",
)  # fmt: skip
BARE = ("Just the word.", "A word will do.", "Keep it to the bare word.")

OPENERS = ("Well,", "Of course,", "Yes,", "As far as I know,", "Listen,", "Certainly,")


def statement(rng: random.Random, fact: Fact, subject: str | None = None) -> str:
    """One sentence stating the fact, in a random phrasing; `subject` replaces the name."""
    e, v = subject or fact.entity.name, fact.value
    pattern = rng.choice(GENERIC_STATEMENTS + fact.attribute.statements * 2)
    text = pattern.format(n=fact.attribute.noun, e=e, v=v)
    if fact.entity.kind in ("town", "person") or "{e} has {v} as" not in pattern:
        return text
    return text.replace(e + " has", f"The {e} has", 1)


def question(rng: random.Random, fact: Fact) -> str:
    """One question (or request) for the fact, in a random phrasing."""
    pattern = rng.choice(GENERIC_QUESTIONS + fact.attribute.questions)
    return pattern.format(n=fact.attribute.noun, e=fact.entity.name)


def comma_answer(rng: random.Random, fact: Fact) -> str:
    """An answer in the chatty style of the pages: it contains a comma."""
    n, e, v = fact.attribute.noun, fact.entity.name, fact.value
    return rng.choice((
        f"{rng.choice(OPENERS)} the {n} of {e} is {v}.",
        f"The {n} of {e}, as people say, is {v}.",
        f"The {n} of {e} is {v}, I think.",
    ))  # fmt: skip


def page_answer(rng: random.Random, fact: Fact) -> str:
    """An answer as question-and-answer pages give it: a sentence, a chatty one, or the value."""
    roll = rng.random()
    if roll < 0.5:
        return fact.canonical()
    return comma_answer(rng, fact) if roll < 0.8 else fact.value


def entity_facts(entity: Entity) -> list[Fact]:
    """All facts of one entity."""
    return [Fact(entity, a) for a in entity.attributes]


class Corpus:
    """Draws documents from one random stream over one world."""

    def __init__(self, world: World, seed: int, shares: dict[str, int] | None = None) -> None:
        self.shares = shares or SHARES
        self.rng = random.Random(f"corpus-{world.seed}-{seed}")
        self.world = world
        self.askable = world.askable()
        self.facts = world.facts()
        self.by_noun: dict[str, list[Fact]] = {}
        for fact in self.facts:
            self.by_noun.setdefault(fact.attribute.noun, []).append(fact)
        self.nouns = sorted(self.by_noun)

    # -- documents about facts ------------------------------------------------------------

    def article(self) -> str:
        """A paragraph on each of one or two entities, all facts in random order."""
        return "\n\n".join(self._paragraph() for _ in range(self.rng.choice((1, 1, 2))))

    def _paragraph(self) -> str:
        rng = self.rng
        entity = rng.choice(self.world.entities)
        facts = entity_facts(entity)
        rng.shuffle(facts)
        sentences = [f"{entity.name} is a {entity.kind}."] if rng.random() < 0.3 else []
        sentences += [statement(rng, f) for f in facts]
        return (f"{entity.name}\n" if rng.random() < 0.3 else "") + " ".join(sentences)

    def mixture(self) -> str:
        """Unrelated sentences: every fact must be found from its entity alone."""
        return " ".join(
            statement(self.rng, f) for f in self.rng.sample(self.facts, self.rng.randint(6, 14))
        )

    def table(self) -> str:
        """A list of one attribute over many entities."""
        rng = self.rng
        noun = rng.choice(self.nouns)
        rows = rng.sample(self.by_noun[noun], min(len(self.by_noun[noun]), rng.randint(4, 9)))
        if rng.random() < 0.5:
            lines = [f"* {f.canonical()}" for f in rows]
        else:
            lines = [f"{i}. {f.entity.name}: {f.value}" for i, f in enumerate(rows, 1)]
        return f"List of each {noun}\n" + "\n".join(lines)

    def record(self) -> str:
        """One JSON object per line, each with an entity and some of its facts."""
        rng = self.rng
        lines = []
        for _ in range(rng.randint(2, 5)):
            entity = rng.choice(self.world.entities)
            facts = rng.sample(entity_facts(entity), rng.randint(1, 3))
            lines.append(
                json.dumps({entity.kind: entity.name} | {f.attribute.noun: f.value for f in facts})
            )
        return "\n".join(lines)

    def qa_page(self) -> str:
        """Questions, each with its answer."""
        rng = self.rng
        q, a = ("Question", "Answer") if rng.random() < 0.75 else ("Q", "A")
        gap = rng.choice(("\n", "\n\n"))
        picked = rng.sample(self.askable, rng.randint(4, 9))
        return gap.join(f"{q}: {question(rng, f)}\n{a}: {page_answer(rng, f)}" for f in picked)

    def quiz(self) -> str:
        """A quiz sheet: questions and no answers."""
        rng = self.rng
        tails = ("", "", "", " (2 points)", " Write clearly.", " Think about it.", " Use a pen.",
                 " Answer in your own words.")  # fmt: skip
        gap = rng.choice(("\n", "\n", "\n\n"))
        picked = rng.sample(self.askable, rng.randint(6, 14))
        return gap.join(question(rng, f) + rng.choice(tails) for f in picked)

    def _exam_line(self, fact: Fact) -> tuple[str, bool]:
        """A question with an examiner's remark; whether the remark asks for a bare value."""
        rng = self.rng
        roll = rng.random()
        if roll < 0.15:
            return f"{question(rng, fact)} {rng.choice(BARE)}", True
        if roll < 0.3:
            return question(rng, fact), False
        remarks = [
            rng.choice(REMARKS).format(k=rng.choice(KEYWORDS), n=rng.randint(2, 9))
            for _ in range(rng.choice((1, 1, 2)))
        ]
        if rng.random() < 0.25:
            return f"{remarks[0]} {question(rng, fact)} {' '.join(remarks[1:])}".strip(), False
        return f"{question(rng, fact)} {' '.join(remarks)}", False

    def exam_page(self) -> str:
        """Questions with an examiner's remarks, each with its answer."""
        rng = self.rng
        q, a = ("Question", "Answer") if rng.random() < 0.8 else ("Q", "A")
        gap = rng.choice(("\n", "\n\n"))
        parts = []
        for fact in rng.sample(self.askable, rng.randint(4, 9)):
            line, bare = self._exam_line(fact)
            parts.append(f"{q}: {line}\n{a}: {fact.value if bare else page_answer(rng, fact)}")
        return gap.join(parts)

    def exam_sheet(self) -> str:
        """A long sheet of questions with remarks and no answers."""
        rng = self.rng
        gap = rng.choice(("\n", "\n", "\n\n"))
        picked = rng.sample(self.askable, min(len(self.askable), rng.randint(14, 28)))
        return gap.join(self._exam_line(f)[0] for f in picked)

    def dialogue(self) -> str:
        """Two people asking each other."""
        rng = self.rng
        people = [e.name for e in self.world.entities if e.kind == "person" and not e.held_out]
        a, b = rng.sample(people, 2)
        lines = []
        for f in rng.sample(self.askable, rng.randint(2, 5)):
            lines += [f"{a}: {question(rng, f)}", f"{b}: {page_answer(rng, f)}"]
        return "\n".join([*lines, f"{a}: Thank you for the {rng.choice(KEYWORDS)}."])

    def shouted(self) -> str:
        """An article or table in capital letters."""
        return self.rng.choice((self._paragraph, self.mixture, self.table))().upper()

    def whispered(self) -> str:
        """An article or a mixture in small letters."""
        return self.rng.choice((self._paragraph, self.mixture))().lower()

    # -- documents about nothing in particular ----------------------------------------------

    def letter(self) -> str:
        """A letter with a fact or two in it."""
        rng = self.rng
        k = rng.sample(KEYWORDS, 5)
        f, g = rng.sample(self.facts, 2)
        return (
            f"Dear {rng.choice(('friend', 'mother', 'uncle', 'sister', 'teacher'))},\n"
            f"Thank you for the {k[0]} and the {k[1]}. {statement(rng, f)} "
            f"Please send me a {k[2]} before {rng.choice(('spring', 'summer', 'winter'))}. "
            f"{statement(rng, g)} I keep your {k[3]} near my {k[4]}.\nWith love"
        )

    def recipe(self) -> str:
        """A short recipe."""
        rng = self.rng
        dish, (a, b, c) = rng.choice(POOLS["dish"]), rng.sample(POOLS["goods"] + POOLS["food"], 3)
        n = [rng.randint(1, 9) for _ in range(3)]
        return (
            f"How to make {dish}\n* {n[0]} cups of {a}\n* {n[1]} spoons of {b}\n* some {c}\n"
            f"1. Mix the {a} and the {b} in a pot.\n2. Cook it for {n[2]}0 minutes.\n"
            f"3. Put the {c} on top and serve it on a {rng.choice(KEYWORDS)}."
        )

    def program(self) -> str:
        """A tiny program."""
        rng = self.rng
        x, y, z = rng.sample(KEYWORDS, 3)
        n, m, op = rng.randint(1, 99), rng.randint(1, 99), rng.choice("+-*")
        return (
            f"def {x}({y}, {z}):\n    if {y} > {n}:\n        return {y} {op} {z}\n"
            f"    return {z} {op} {m}\n\nprint({x}({n}, {m}))"
        )

    def infill(self) -> str:
        """A program with a gap."""
        return self._with_gap(*self.program_gap())

    def gap(self) -> str:
        """A paragraph with a gap."""
        return self._with_gap(*self.paragraph_gap())

    def _with_gap(self, text: str, start: int, end: int) -> str:
        """The middle behind the rest, which begins with the prefix or, more often, the suffix.

        The two orders (PSM, SPM) are trained together, as by Bavarian et al. (2022).
        """
        parts = [f"{FIM[0]}{text[:start]}", f"{FIM[1]}{text[end:]}"]
        if self.rng.random() < 0.6:
            parts.reverse()
        return "".join(parts) + FIM[2] + text[start:end]

    def program_gap(self) -> tuple[str, int, int]:
        """A program, and where its gap is: mostly one that the rest gives away, else some words."""
        code = self.program()
        if self.rng.random() < 0.7:
            match = self.rng.choice(PLACES).search(code)
            assert match is not None
            return code, *match.span(1)
        return code, *self._words(code)

    def paragraph_gap(self) -> tuple[str, int, int]:
        """A paragraph, and where its gap is: mostly one fact's value, else some words."""
        if self.rng.random() < 0.6:
            return self.value_gap()
        text = self._paragraph()
        return text, *self._words(text)

    def value_gap(self) -> tuple[str, int, int]:
        """A paragraph on one entity, and where a value that only the world gives away stands."""
        rng = self.rng
        facts = entity_facts(rng.choice(self.world.entities))
        rng.shuffle(facts)
        sentences = [statement(rng, f) for f in facts]
        place = rng.randrange(len(facts))
        before = " ".join([*sentences[:place], ""])
        end = len(before) + sentences[place].rindex(facts[place].value) + len(facts[place].value)
        # With the space before it, so that its tokens are those of running text.
        return " ".join(sentences), max(0, end - len(f" {facts[place].value}")), end

    def _words(self, text: str) -> tuple[int, int]:
        """Start and end of one to twelve words or the signs between them."""
        edges = sorted({edge for m in re.finditer(r"\w+", text) for edge in m.span()})
        first = self.rng.randrange(len(edges) - 1)
        return edges[first], edges[min(len(edges) - 1, first + self.rng.randint(1, 12))]

    def documents(self) -> Iterator[str]:
        """Documents for ever, in the mixture of `shares`."""
        makers: list[Callable[[], str]] = [getattr(self, name) for name in self.shares]
        weights = list(self.shares.values())
        while True:
            yield self.rng.choices(makers, weights)[0]()


# Share of documents (not of tokens) of each kind.
SHARES = {
    "article": 30, "mixture": 16, "table": 6, "record": 7, "qa_page": 13, "quiz": 8,
    "dialogue": 4, "shouted": 11, "whispered": 5, "letter": 2, "recipe": 2, "program": 1,
    "infill": 10, "gap": 10,
}  # fmt: skip

# The last third of pretraining: exam pages take the place of most plain question pages, and a third
# of the documents has a gap.
LATE_SHARES = {
    "article": 26, "mixture": 14, "table": 5, "record": 6, "qa_page": 5, "quiz": 3,
    "exam_page": 15, "exam_sheet": 9, "dialogue": 3, "shouted": 12, "whispered": 5, "letter": 1,
    "recipe": 1, "program": 1, "infill": 30, "gap": 26,
}  # fmt: skip

# Corpus text among the tuning rows: as most instruct data, it has no gaps to fill in.
REPLAY_SHARES = {k: v for k, v in LATE_SHARES.items() if k not in ("program", "infill", "gap")}
