from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from harness.engine import Engine
from harness.engine.logprobs import score_rows
from harness.errors import ContextOverflow, EngineError
from harness.records import Passage, Rerank
from harness.stats.divergence import kl_divergence, log_softmax
from tests.engine.conftest import EXACT, Ask
from tests.support import tinygguf


def tokens(engine: Engine, text: str) -> tuple[int, ...]:
    return engine.tokenizer.tokenize([text], add_special=True, parse_special=False)[0]


def test_scores_of_known_logits() -> None:
    rows = np.log(np.array([[0.5, 0.25, 0.125, 0.125]], dtype=np.float32))
    found = score_rows(rows, [1])
    assert found["logprobs"] == pytest.approx([math.log(0.25)], abs=1e-6)
    assert found["ranks"] == [1]
    assert found["entropies"] == pytest.approx([1.75 * math.log(2)], abs=1e-6)
    assert found["tops"] == [0]
    assert found["margins"] == pytest.approx([math.log(2)], abs=1e-6)


def test_kl_divergence_of_known_distributions() -> None:
    left = np.log(np.array([[0.5, 0.5], [1.0, 1e-30]], dtype=np.float32))
    right = np.log(np.array([[0.25, 0.75], [0.5, 0.5]], dtype=np.float32))
    expected = [0.5 * math.log(2) + 0.5 * math.log(0.5 / 0.75), math.log(2)]
    assert kl_divergence(left, right) == pytest.approx(expected, abs=1e-6)
    assert kl_divergence(left, left) == pytest.approx([0, 0])


def test_what_greedy_decoding_chose_is_what_scoring_ranks_first(engine: Engine, ask: Ask) -> None:
    request = ask(["once upon"], max_tokens=40)[0]
    found = next(engine.generate([request]))
    prompt = request.prompt.token_ids
    scores = next(engine.logprobs([Passage(prompt + found.token_ids, len(prompt))]))
    assert len(scores.logprobs) == len(found.token_ids)
    # Decodes and prefill round differently: only near-ties may fall the other way.
    assert all(
        rank == 0 or margin < 0.01
        for rank, margin in zip(scores.ranks, scores.margins, strict=True)
    )


def test_a_texts_scores_do_not_depend_on_its_neighbours_or_on_where_scoring_begins(
    engine: Engine,
) -> None:
    shared = "s" * 70
    texts = [Passage(tokens(engine, shared + end), 60) for end in ("one", "two and more", "x")]
    together = [scores.logprobs for scores in engine.logprobs(texts)]
    alone = [next(engine.logprobs([text])).logprobs for text in texts]
    assert together == alone
    whole = next(engine.logprobs([dataclasses.replace(texts[1], start=1)])).logprobs
    assert whole[59:] == alone[1]


@pytest.mark.parametrize("length", [2, 3, 32, 33, 34, 64, 65, 66])
def test_every_length_around_a_chunk_can_be_scored(engine: Engine, length: int) -> None:
    text = Passage(tokens(engine, "y" * (length - 1)))
    assert len(next(engine.logprobs([text])).logprobs) == length - 1


def test_logit_rows_are_the_distributions_the_log_probabilities_come_from(engine: Engine) -> None:
    text = Passage(tokens(engine, "the quick brown fox jumps over the lazy dog, twice"), 5)
    wanted = next(engine.logprobs([text])).logprobs
    found: list[float] = []
    for block in engine.logit_rows([text]):
        targets = text.tokens[block.start : block.start + len(block.rows)]
        found += [float(row[t]) for row, t in zip(log_softmax(block.rows), targets, strict=True)]
    assert found == pytest.approx(list(wanted), abs=1e-4)


def test_two_models_are_compared_row_by_row_in_bounded_memory(
    engine: Engine, tmp_path: Path
) -> None:
    text = Passage(tokens(engine, "z" * 150))
    other_file = tinygguf.write_llama(tmp_path / "other.gguf", seed=1)
    with Engine(other_file, "other", EXACT) as other:
        pairs = zip(engine.logit_rows([text]), other.logit_rows([text]), strict=True)
        divergences = [
            value for left, right in pairs for value in kl_divergence(left.rows, right.rows)
        ]
        same = zip(other.logit_rows([text]), other.logit_rows([text]), strict=True)
        with pytest.raises(EngineError):
            list(same)  # one child serves one stream at a time
    assert len(divergences) == 150
    assert min(divergences) > 0


def test_a_recurrent_model_can_be_scored(mamba: Path) -> None:
    with Engine(mamba, "mamba", EXACT) as engine:
        texts = [Passage(tokens(engine, "m" * 50 + end), 40) for end in ("a", "b")]
        first, second = engine.logprobs(texts)
        assert first.logprobs[:10] == second.logprobs[:10]


def test_texts_that_cannot_be_scored_are_refused(engine: Engine) -> None:
    with pytest.raises(ContextOverflow, match="5001 tokens"):
        next(engine.logprobs([Passage((1,) * 5001)]))
    with pytest.raises(EngineError, match="cannot be scored from token 0"):
        next(engine.logprobs([Passage((1, 2), 0)]))


def test_reranking_keeps_the_candidate_the_model_likes_best_and_counts_every_token(
    engine: Engine, ask: Ask
) -> None:
    rerank = Rerank(n=4, judge="Answer: {answer}\nGood?", temperature=1.0)
    request = ask(["once"], rerank=rerank, max_tokens=10)[0]
    found = next(engine.generate([request]))
    assert found.request_key == request.key
    assert found.completion_tokens > len(found.token_ids)
    again = next(engine.generate([request]))
    assert again.text == found.text
    flipped = dataclasses.replace(rerank, yes=rerank.no, no=rerank.yes)
    other = dataclasses.replace(request, prompt=dataclasses.replace(request.prompt, rerank=flipped))
    assert next(engine.generate([other])).text != found.text
