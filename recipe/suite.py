"""The held-out suite `datasets/tiny.jsonl`, and the proof that nothing in it was trained on.

Items ask for facts that no question in any training stage asks for, about entities that no tuning
prompt mentions. Each item's reference answer
passes its own checks under the harness, or the item is not taken.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path

from recipe.tasks import Maker, Task
from recipe.world import POOLS, Entity, Fact, World

# Builder -> number of items. `bullets` uses two or three facts of one entity, the others one.
ITEMS = {
    "fact": 36, "upper": 24, "lower": 24, "one_word": 36, "no_comma": 30, "end": 30, "as_json": 36,
    "keyword": 30, "bullets": 30, "combination": 36,
}  # fmt: skip


def held_out_facts(world: World) -> dict[Entity, list[Fact]]:
    """The never-asked facts of each held-out entity."""
    groups: dict[Entity, list[Fact]] = {}
    for fact in world.facts():
        if fact.key in world.never_asked:
            groups.setdefault(fact.entity, []).append(fact)
    return groups


def suite_tasks(world: World, items: dict[str, int] = ITEMS) -> list[Task]:
    """The tasks of the suite, each about its own facts; no fact serves two items."""
    rng = random.Random(f"suite-{world.seed}")
    maker = Maker(rng)
    groups = list(held_out_facts(world).values())
    rng.shuffle(groups)
    tasks = []
    for i in range(items["bullets"]):
        facts = groups.pop()[: 2 + (i % 3 == 2)]
        tasks.append(maker.bullets(facts[0], facts[1:]))
    rest = [f for group in groups for f in group]
    rng.shuffle(rest)
    for name, count in items.items():
        taken = 0
        while name != "bullets" and taken < count:
            task = getattr(maker, name)(rest.pop())
            if not _given_away(task) and reference_passes(task):
                tasks.append(task)
                taken += 1
    # Interleave the categories, so that the first N items are a fair sample of all of them.
    order = sorted(range(len(tasks)), key=lambda i: (_rank(tasks, i), tasks[i].category))
    return [tasks[i] for i in order]


def _given_away(task: Task) -> bool:
    """Whether a keyword to be used is a word of the question or of the answer anyway."""
    bare = f"{task.facts[0].canonical()} {' '.join(w for pool in POOLS.values() for w in pool)}"
    words = [w for c, k in task.checks if c == "keywords:existence" for w in k["keywords"]]
    return task.category != "list" and any(w in bare for w in words)


def _rank(tasks: list[Task], index: int) -> float:
    same = [i for i, t in enumerate(tasks) if t.category == tasks[index].category]
    return (same.index(index) + 0.5) / len(same)


def row(task: Task, number: int) -> dict[str, object]:
    """The task as a row of the suite."""
    target = task.targets[0] if len(task.targets) == 1 else list(task.targets)
    return {
        "id": f"tiny-{number:04d}",
        "category": task.category,
        "prompt": task.prompt,
        "ablated": task.ablated,
        "checks": [{"id": check, "kwargs": kwargs} for check, kwargs in task.checks],
        "target": target,
        "tags": [f.entity.kind for f in task.facts[:1]],
    }


def reference_passes(task: Task) -> bool:
    """Whether the reference answer passes the task's checks as the harness judges them."""
    return passes(row(task, 0), task.answer)


def passes(item: dict[str, object], answer: str) -> bool:
    """Prompt-level strict verdict of an answer to a suite row."""
    from harness.checks import judge, validate
    from harness.datasets import parse_row

    sample = parse_row(item, suite="tiny", where=str(item["id"]), validate=validate)
    return all(result.strict for result in judge(sample, answer))


def write_suite(tasks: Iterable[Task], path: Path) -> None:
    """Write the rows as JSON lines."""
    lines = [json.dumps(row(task, i)) for i, task in enumerate(tasks, 1)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
