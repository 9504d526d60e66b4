"""The stages in order: tokenizer, base, supervised tuning, adapter, preference tuning."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from recipe import tok
from recipe.corpus import LATE_SHARES, REPLAY_SHARES, Corpus
from recipe.net import Llama, generate
from recipe.presets import Plan, Preset, world_of
from recipe.tasks import (
    PRACTICE_SHARES,
    SHARES,
    SYSTEM,
    Task,
    chat,
    demonstration,
    followed,
    tuning_tasks,
    unwanted,
)
from recipe.train import Rows, answer_logprob, train
from recipe.world import POOLS, World


def make_tokenizer(preset: Preset, path: Path) -> None:
    """Train the tokenizer on a sample of the corpus in which every value occurs in every case."""
    corpus = Corpus(world_of(preset), seed=0)
    texts = list(itertools.islice(corpus.documents(), preset.vocab_documents))
    for word in sorted({w for pool in POOLS.values() for w in pool}):
        texts += [f"is {word}.", f"IS {word.upper()}."] * (preset.vocab_documents // 250)
    tok.train_tokenizer(texts, preset.shape.vocab, path)


def pack_corpus(
    world: World,
    tokenizer: Path,
    seed: int,
    rows: int,
    length: int,
    shares: dict[str, int] | None = None,
) -> np.ndarray:
    """(rows, length + 1) token ids: documents end to end, each after a BOS; rows overlap by one."""
    encode = tok.load_tokenizer(tokenizer).encode_batch
    need, parts, total = rows * length + 1, [], 0
    documents = Corpus(world, seed, shares).documents()
    while total < need:
        for e in encode(list(itertools.islice(documents, 2000)), add_special_tokens=False):
            parts.append(np.array([tok.BOS, *e.ids], dtype=np.uint16))
            total += len(parts[-1])
    stream = np.concatenate(parts)[:need]
    return np.lib.stride_tricks.sliding_window_view(stream, length + 1)[::length].astype(np.int32)


def base_rows(preset: Preset, tokenizer: Path) -> Rows:
    """All pretraining rows: two thirds of the first mixture, one third of the late one."""
    plan, world = preset.base, world_of(preset)
    total = plan.steps * plan.rows
    early = plan.steps * 2 // 3 * plan.rows
    return Rows(np.concatenate((
        pack_corpus(world, tokenizer, plan.seed, early, plan.length),
        pack_corpus(world, tokenizer, 2000 + plan.seed, total - early, plan.length, LATE_SHARES),
    )))  # fmt: skip


def _encode(tokenizer, prompt: str, answer: str) -> tuple[list[int], list[int]]:
    """(token ids of the prompt with BOS, token ids of the answer with its end of turn)."""
    head = [tok.BOS, *tokenizer.encode(prompt, add_special_tokens=False).ids]
    return head, [*tokenizer.encode(f" {answer}", add_special_tokens=False).ids, tok.IM_END]


def sft_rows(
    preset: Preset,
    plan: Plan,
    tokenizer: Path,
    shares: dict[str, int] = SHARES,
    answers: Callable[[random.Random, Task], str] = demonstration,
) -> Rows:
    """Tuning rows: three quarters conversations (loss on answers only), one quarter corpus.

    The corpus rows keep the facts of held-out entities alive: without them tuning forgets what it
    is not asked about.
    """
    world, rng = world_of(preset), random.Random(f"sft-{preset.seed}-{plan.seed}")
    encoder, tasks = tok.load_tokenizer(tokenizer), tuning_tasks(world, plan.seed, shares)
    total = plan.steps * plan.rows
    replay = total // 4
    size = plan.length + 1
    ids = np.full((total, size), tok.PAD, dtype=np.int32)
    weights = np.zeros((total, size), dtype=np.float32)
    ids[:replay] = pack_corpus(
        world, tokenizer, 1000 + plan.seed, replay, plan.length, REPLAY_SHARES
    )
    # A corpus row has many more counted tokens than a conversation row: weigh it down to match.
    weights[:replay] = REPLAY_WEIGHT
    for row in range(replay, total):
        at = 0
        while True:
            task = next(tasks)
            system = rng.choice(SYSTEM) if rng.random() < 0.1 else None
            head, answer = _encode(encoder, chat(task.prompt, system), answers(rng, task))
            if at + len(head) + len(answer) > size:
                break
            ids[row, at : at + len(head) + len(answer)] = head + answer
            weights[row, at + len(head) : at + len(head) + len(answer)] = 1.0
            at += len(head) + len(answer)
    order = np.random.default_rng(plan.seed).permutation(total)
    return Rows(ids[order], weights[order])


REPLAY_WEIGHT = 0.5


def load_model(preset: Preset, path: Path) -> Llama:
    """A trained stage, ready to answer."""
    model = Llama(preset.shape)
    model.load_state_dict(torch.load(path, weights_only=True))
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _worse(rng: random.Random, task: Task, own: str, ended: bool, others) -> str:
    """The rejected answer: the model's own where it was bad or rambled, an invented one else."""
    if ended and followed(task, own) and len(own) <= len(task.answer) + 8:
        return unwanted(rng, task, others)
    return own


def preference_pairs(preset: Preset, plan: Plan, tokenizer: Path, start: Path) -> Rows:
    """Rows of (chosen, rejected): the direct answer against the flawed one of the model at `start`.

    A rejected answer that did not end by itself carries no end-of-turn token. The reference
    log-probabilities are that model's, computed once.
    """
    torch.set_num_threads(1)  # tiny matrices: a second thread only waits for the first
    world, rng = world_of(preset), random.Random(f"dpo-{preset.seed}-{plan.seed}")
    encoder, stream = tok.load_tokenizer(tokenizer), tuning_tasks(world, 500 + plan.seed)
    model, facts, total = load_model(preset, start), world.tunable(), plan.steps * plan.rows
    tasks = list(itertools.islice(stream, total))
    heads = [_encode(encoder, chat(t.prompt), "")[0] for t in tasks]
    own = generate(model, heads, 48, {tok.IM_END, tok.BOS}, heat=0.7, seed=plan.seed)
    size = plan.length + 1
    data = {k: np.full((total, size), tok.PAD, dtype=np.int32) for k in ("ids", "rejected")}
    data |= {k: np.zeros((total, size), np.float32) for k in ("weights", "rejected_weights")}
    for row, (task, head, answer) in enumerate(zip(tasks, heads, own, strict=True)):
        ended = answer[-1] == tok.IM_END
        text = encoder.decode(answer, skip_special_tokens=True).strip()
        worse = _worse(rng, task, text, ended, facts)
        bad = encoder.encode(f" {worse}", add_special_tokens=False).ids
        if worse != text or ended:
            bad = [*bad, tok.IM_END]
        for name, tail in (("ids", _encode(encoder, "", task.answer)[1]), ("rejected", bad)):
            tail = tail[: size - len(head)]
            key = "weights" if name == "ids" else "rejected_weights"
            data[name][row, : len(head) + len(tail)] = head + tail
            data[key][row, len(head) : len(head) + len(tail)] = 1.0
    device = next(model.parameters()).device
    with torch.no_grad():
        for ids, w, out in (("ids", "weights", "reference"),
                            ("rejected", "rejected_weights", "rejected_reference")):  # fmt: skip
            parts = [
                answer_logprob(
                    model,
                    torch.from_numpy(data[ids][i : i + 64]).long().to(device),
                    torch.from_numpy(data[w][i : i + 64]).to(device),
                ).cpu()
                for i in range(0, total, 64)
            ]
            data[out] = torch.cat(parts).numpy()
    chosen, weights = data.pop("ids"), data.pop("weights")
    return Rows(chosen, weights, data)


def saved_pairs(preset: Preset, plan: Plan, tokenizer: Path, start: Path, cache: Path) -> Rows:
    """`preference_pairs`, made once and kept, so that both processes and a resume share them."""
    if not cache.exists():
        rows = preference_pairs(preset, plan, tokenizer, start)
        partial = cache.with_suffix(".tmp.npz")
        np.savez(partial, ids=rows.ids, weights=rows.weights, **rows.extra)
        partial.rename(cache)
    stored = dict(np.load(cache))
    return Rows(stored.pop("ids"), stored.pop("weights"), stored)


def run_base(preset: Preset, out: Path) -> None:
    """Tokenizer and pretraining."""
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = out / "tokenizer.json"
    if not tokenizer.exists():
        make_tokenizer(preset, tokenizer)
    loader = functools.partial(base_rows, preset, tokenizer)
    train(preset.shape, preset.base, out / "base.pt", loader)


def run_sft(preset: Preset, out: Path) -> None:
    """Supervised tuning of all weights, in two halves."""
    first, tokenizer = out / "sft-first.pt", out / "tokenizer.json"
    loader = functools.partial(sft_rows, preset, preset.sft, tokenizer)
    train(preset.shape, preset.sft, first, loader, out / "base.pt")
    loader = functools.partial(sft_rows, preset, preset.practice, tokenizer, PRACTICE_SHARES)
    train(preset.shape, preset.practice, out / "sft.pt", loader, first)


def run_lora(preset: Preset, out: Path) -> None:
    """Supervised tuning as a low-rank adapter on the frozen base."""
    loader = functools.partial(sft_rows, preset, preset.lora, out / "tokenizer.json")
    train(preset.shape, preset.lora, out / "lora.pt", loader, out / "base.pt")


def direct(rng: random.Random, task: Task) -> str:
    """The preferred answer: the plain one, whatever a written demonstration would add."""
    return task.answer


def run_dpo(preset: Preset, out: Path) -> None:
    """Preference tuning: the supervised model learns the preferred answers, then DPO from there.

    So Rafailov et al. (2023) begin too where no model was tuned on the preferred answers: the
    reference should give them some probability.
    """
    preferred, tokenizer = out / "preferred.pt", out / "tokenizer.json"
    loader = functools.partial(
        sft_rows, preset, preset.preferred, tokenizer, PRACTICE_SHARES, direct
    )
    train(preset.shape, preset.preferred, preferred, loader, out / "sft.pt")
    args = (preset, preset.dpo, tokenizer, preferred, out / "pairs.npz")
    saved_pairs(*args)
    train(preset.shape, preset.dpo, out / "dpo.pt", functools.partial(saved_pairs, *args),
          preferred)  # fmt: skip


STAGES = {"base": run_base, "sft": run_sft, "lora": run_lora, "dpo": run_dpo}
