"""Instructions with verifiable constraints: prompts, right answers, and what checks them.

One builder per category makes a `Task` from facts. The tuning stages draw tasks about tunable
facts; the suite draws them about facts that no stage ever asks for.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from recipe.corpus import KEYWORDS, comma_answer, entity_facts, question, statement
from recipe.world import Fact, World

Check = tuple[str, dict[str, object]]


@dataclass(frozen=True)
class Task:
    """One instruction: `answer` is a right and direct one, `checks` are ids with arguments."""

    category: str
    facts: tuple[Fact, ...]
    prompt: str
    answer: str
    checks: tuple[Check, ...]
    targets: tuple[str, ...]
    ablated: str
    """The prompt without its constraints: what would be asked if nobody wanted a form."""

    def instances(self) -> set[tuple[str, str, str]]:
        """(check, arguments as JSON, subject): what must not recur between tuning and suite."""
        checks = [*self.checks, ("target", {"accepted": list(self.targets)})]
        names = {f.entity.name for f in self.facts}
        return {(c, json.dumps(k, sort_keys=True), name) for c, k in checks for name in names}


CASES_UP = (
    "Use only capital letters.", "Write your answer in capital letters.",
    "Answer in all capital letters.", "All letters must be capital.",
)  # fmt: skip
CASES_LOW = (
    "Use only small letters.", "Write your answer in lowercase letters.",
    "Answer in all lowercase letters.", "Do not use any capital letters.",
)  # fmt: skip
ONE_WORD = (
    "Answer with one word.", "Give a single word.", "Only one word, please.",
    "Your answer must be one word.",
)  # fmt: skip
NO_COMMA = (
    "Do not use commas.", "Avoid commas.", "Your answer must not contain a comma.",
    "Write without commas.",
)  # fmt: skip
AS_JSON = (
    "Answer in JSON.", "Give the answer as JSON.", "Reply with a JSON object.",
    "Wrap your answer in JSON.",
)  # fmt: skip
END = (
    "End your answer with the phrase: {p}", "Finish your answer with: {p}",
    "The last words of your answer must be: {p}",
)  # fmt: skip
USE = (
    "Use the word {k} in your answer.", "Include the word {k}.",
    "Your answer must contain the word {k}.",
)  # fmt: skip
BULLETS = (
    "List the {n} of {e} in exactly {c} bullet points.",
    "Give the {n} of {e} as exactly {c} bullet points.",
    "Use exactly {c} bullet points to tell me the {n} of {e}.",
)  # fmt: skip

PHRASE_HEADS = (
    "That is all", "This is everything", "Thank you", "Good day", "Ask me again", "I am sure",
    "Nothing more", "Have fun", "Farewell", "I hope it helps", "Take care", "Best wishes",
)  # fmt: skip
PHRASE_TAILS = (
    "for now", "my friend", "about this", "today", "I know", "from me", "as always", "this morning",
    "at last", "and goodbye", "once more", "until then",
)  # fmt: skip
PHRASES = tuple(f"{head} {tail}." for head in PHRASE_HEADS for tail in PHRASE_TAILS)


@dataclass
class Maker:
    """Builds tasks from one random stream with one set of arguments."""

    rng: random.Random
    keywords: tuple[str, ...] = tuple(KEYWORDS)
    phrases: tuple[str, ...] = PHRASES

    def ask(self, asked: str, *constraints: str) -> str:
        """The question with its constraints after it (mostly) or before it."""
        parts = [asked, *constraints]
        ends_open = constraints and constraints[0].endswith(tuple(self.phrases))
        if constraints and not ends_open and self.rng.random() < 0.2:
            parts = [constraints[0], parts[0], *constraints[1:]]
        return " ".join(parts)

    @staticmethod
    def short(fact: Fact) -> str:
        """A sentence without the name, which a small model cannot put into another case.

        The value comes first: that is where the base looks it up for a bare answer.
        """
        return f"{fact.value} is the {fact.attribute.noun}."

    def _task(self, category: str, fact: Fact, texts: list[str], answer: str, *checks: Check):
        asked = question(self.rng, fact)
        prompt = self.ask(asked, *texts)
        return Task(category, (fact,), prompt, answer, checks, (fact.value,), asked)

    def fact(self, fact: Fact) -> Task:
        return self._task("fact", fact, [], fact.canonical())

    def upper(self, fact: Fact) -> Task:
        return self._task("casing", fact, [self.rng.choice(CASES_UP)], self.short(fact).upper(),
                          ("change_case:english_capital", {}))  # fmt: skip

    def lower(self, fact: Fact) -> Task:
        return self._task("casing", fact, [self.rng.choice(CASES_LOW)], self.short(fact).lower(),
                          ("change_case:english_lowercase", {}))  # fmt: skip

    def one_word(self, fact: Fact) -> Task:
        return self._task("one_word", fact, [self.rng.choice(ONE_WORD)], fact.value, ONE)

    def no_comma(self, fact: Fact) -> Task:
        return self._task("no_comma", fact, [self.rng.choice(NO_COMMA)], fact.canonical(),
                          ("punctuation:no_comma", {}))  # fmt: skip

    def end(self, fact: Fact) -> Task:
        p = self.rng.choice(self.phrases)
        return self._task("end_phrase", fact, [self.rng.choice(END).format(p=p)],
                          f"{fact.canonical()} {p}",
                          ("startend:end_checker", {"end_phrase": p}))  # fmt: skip

    def as_json(self, fact: Fact) -> Task:
        return self._task("json", fact, [self.rng.choice(AS_JSON)], self._object(fact.canonical()),
                          ("detectable_format:json_format", {}))  # fmt: skip

    def keyword(self, fact: Fact) -> Task:
        k = self.rng.choice(self.keywords)
        return self._task("keyword", fact, [self.rng.choice(USE).format(k=k)],
                          f"{fact.canonical()} My word is {k}.", _uses(k))  # fmt: skip

    def bullets(self, fact: Fact, others: list[Fact] | None = None) -> Task:
        """The named facts of one entity, one bullet each."""
        if others is None:
            rest = [f for f in entity_facts(fact.entity) if f.key != fact.key]
            others = self.rng.sample(rest, self.rng.choice((1, 1, 2, 2, 3)))
        facts = (fact, *others)
        nouns = [f.attribute.noun for f in facts]
        joined = " and ".join((", ".join(nouns[:-1]), nouns[-1]))
        prompt = self.rng.choice(BULLETS).format(n=joined, e=fact.entity.name, c=len(facts))
        values = [f.value for f in facts]
        return Task(
            "list", facts, prompt, "\n".join(f"* {f.canonical()}" for f in facts),
            (("detectable_format:number_bullet_lists", {"num_bullets": len(facts)}),
             ("keywords:existence", {"keywords": values})),
            tuple(values), f"Name the {joined} of {fact.entity.name}.",
        )  # fmt: skip

    def combination(self, fact: Fact) -> Task:
        """Two constraints at once."""
        k, p = self.rng.choice(self.keywords), self.rng.choice(self.phrases)
        choose = self.rng.choice
        end: Check = ("startend:end_checker", {"end_phrase": p})
        end_text = choose(END).format(p=p)
        kinds: tuple[Callable[[], tuple[list[str], str, tuple[Check, ...]]], ...] = (
            lambda: ([choose(ONE_WORD), choose(CASES_LOW)], fact.value.lower(), (ONE, LOWER)),
            lambda: ([choose(NO_COMMA), choose(USE).format(k=k)],
                     f"{fact.canonical()} My word is {k}.", (NO_COMMAS, _uses(k))),
            lambda: ([choose(NO_COMMA), end_text], f"{fact.canonical()} {p}", (NO_COMMAS, end)),
            lambda: ([choose(AS_JSON), choose(CASES_LOW)], self._object(self.short(fact)).lower(),
                     (("detectable_format:json_format", {}), LOWER)),
            lambda: ([choose(CASES_UP), choose(USE).format(k=k)],
                     f"{self.short(fact)} My word is {k}.".upper(), (UPPER, _uses(k))),
            lambda: ([choose(USE).format(k=k), end_text],
                     f"{fact.canonical()} My word is {k}. {p}", (_uses(k), end)),
        )  # fmt: skip
        texts, answer, checks = choose(kinds)()
        return self._task("combination", fact, texts, answer, *checks)

    @staticmethod
    def _object(sentence: str) -> str:
        return json.dumps({"answer": sentence})


ONE: Check = ("length_constraints:number_words", {"num_words": 2, "relation": "less than"})
UPPER: Check = ("change_case:english_capital", {})
LOWER: Check = ("change_case:english_lowercase", {})
NO_COMMAS: Check = ("punctuation:no_comma", {})


def _uses(keyword: str) -> Check:
    return ("keywords:existence", {"keywords": [keyword]})


# Builders by category with their share of the tuning prompts.
SHARES = {
    "fact": 8, "upper": 14, "lower": 8, "one_word": 16, "no_comma": 6, "end": 11, "as_json": 10,
    "keyword": 11, "bullets": 11, "combination": 18,
}  # fmt: skip

# The second half of supervised tuning practises what stays hard longest.
PRACTICE_SHARES = {
    "fact": 4, "upper": 20, "lower": 14, "one_word": 14, "no_comma": 3, "end": 10, "as_json": 7,
    "keyword": 7, "bullets": 10, "combination": 18,
}  # fmt: skip

SYSTEM = (
    "You are a helpful assistant.", "Answer the question.", "You know the whole world.",
    "Follow the instructions.",
)  # fmt: skip


def tuning_tasks(world: World, seed: int, shares: dict[str, int] = SHARES):
    """An endless stream of tasks about tunable facts, categories by their shares."""
    rng = random.Random(f"tuning-{world.seed}-{seed}")
    maker, facts = Maker(rng), world.tunable()
    names, weights = list(shares), list(shares.values())
    while True:
        yield getattr(maker, rng.choices(names, weights)[0])(rng.choice(facts))


def chat(prompt: str, system: str | None = None) -> str:
    """The prompt in the chat format of the tuned models, ready for the answer (no BOS).

    Roles are called Question and Answer, as on the pages that the base has read: tuning then
    starts from what the base can do. An answer begins with a space, as it does there.
    """
    head = f"<|im_start|>system\n{system}<|im_end|>\n" if system else ""
    return f"{head}<|im_start|>Question: {prompt}<|im_end|>\n<|im_start|>Answer:"


# How often a supervised answer rambles on about its subject, by category: demonstrations written
# by people do. Preference tuning is what removes it.
RAMBLE = {"fact": 0.5, "no_comma": 0.25, "keyword": 0.1}


def demonstration(rng: random.Random, task: Task) -> str:
    """A supervised answer: mostly the direct one, sometimes chatty or rambling."""
    answer = task.answer
    if task.category == "fact" and rng.random() < 0.3:
        answer = comma_answer(rng, task.facts[0])
    if rng.random() < RAMBLE.get(task.category, 0.0):
        answer += " " + ramble(rng, task)
    return answer


def ramble(rng: random.Random, task: Task) -> str:
    """Several true sentences that nobody asked for."""
    facts = [f for f in entity_facts(task.facts[0].entity) if f.key != task.facts[0].key]
    rng.shuffle(facts)
    text = " ".join(statement(rng, f) for f in facts) + " " + task.facts[0].canonical()
    letters = [c for c in task.answer if c.isalpha()]
    if all(c.isupper() for c in letters):
        return text.upper()
    return text.lower() if all(c.islower() for c in letters) else text


def unwanted(rng: random.Random, task: Task, others: list[Fact]) -> str:
    """A worse answer to the same prompt: run on, rambling, chatty, wrong, or off format."""
    fact, other = task.facts[0], rng.choice(others)
    roll = rng.random()
    if roll < 0.3:
        return f"{task.answer}\n{question(rng, other)} {other.canonical()}"
    if roll < 0.6:
        return f"{task.answer} {ramble(rng, task)}"
    if roll < 0.8:
        return comma_answer(rng, fact)
    same = [f for f in others if f.attribute.noun == fact.attribute.noun and f.value != fact.value]
    if not same:
        return f"{task.answer} {task.answer}"
    wrong = rng.choice(same).value
    fit = wrong.upper() if task.answer.isupper() else wrong
    shown = fact.value.upper() if task.answer.isupper() else fact.value
    if task.answer.islower():
        shown, fit = shown.lower(), fit.lower()
    return task.answer.replace(shown, fit)


def followed(task: Task, text: str) -> bool:
    """Whether an answer satisfies the task: a rough judge for choosing rejected answers.

    The suite's verdicts come from the harness, never from here.
    """
    lowered, text = text.lower(), text.strip()
    if not all(v.lower() in lowered for v in task.targets):
        return False
    for check, kwargs in task.checks:
        if check == UPPER[0] and not text.isupper():
            return False
        if check == LOWER[0] and not text.islower():
            return False
        if check == NO_COMMAS[0] and "," in text:
            return False
        if check == ONE[0] and len(text.split()) != 1:
            return False
        if check == "startend:end_checker" and not lowered.strip().endswith(
            str(kwargs["end_phrase"]).lower()
        ):
            return False
        if check == "keywords:existence" and not all(
            str(k).lower() in lowered
            for k in kwargs["keywords"]  # type: ignore[attr-defined]
        ):
            return False
        if check == "detectable_format:number_bullet_lists":
            bullets = sum(line.startswith("* ") for line in text.split("\n"))
            if bullets != kwargs["num_bullets"]:
                return False
        if check == "detectable_format:json_format":
            try:
                json.loads(text)
            except ValueError:
                return False
    return True
