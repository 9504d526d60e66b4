from __future__ import annotations

import dataclasses
import math
import sys
from pathlib import Path

import pytest

from harness.engine import Engine, dismiss_spares, engine_identity, open_tokenizer, pipe
from harness.errors import ContextOverflow, EngineError, ModelInvalid
from harness.records import EngineSettings, LogitRules, Sampling
from tests.engine.conftest import EXACT, Ask, make_requests, mixed_texts
from tests.support import tinygguf


def test_every_request_is_answered_once(engine: Engine, ask: Ask) -> None:
    requests = ask(mixed_texts(20), max_tokens=8)
    found = list(engine.generate(requests))
    assert sorted(g.request_key for g in found) == sorted(r.key for r in requests)
    for generation in found:
        assert generation.completion_tokens == len(generation.token_ids) <= 8
        assert generation.finish_reason in ("length", "eos")


def test_prompt_tokens_count_what_the_model_saw(engine: Engine, ask: Ask) -> None:
    request = ask(["hello"])[0]
    assert next(engine.generate([request])).prompt_tokens == 6  # BOS and five bytes


def test_prompts_of_one_token_and_of_whole_chunks_work(engine: Engine, ask: Ask) -> None:
    requests = ask([""] + ["x" * size for size in (30, 31, 32, 33, 63, 64, 65)], max_tokens=4)
    assert all(g.completion_tokens for g in engine.generate(requests))


def test_an_empty_prompt_begins_with_bos(engine: Engine, ask: Ask) -> None:
    with_bos = ask([""], max_tokens=8)[0]
    empty = dataclasses.replace(
        with_bos, key="empty", prompt=dataclasses.replace(with_bos.prompt, token_ids=())
    )
    first, second = (next(engine.generate([r])).token_ids for r in (with_bos, empty))
    assert first == second


def test_a_prompt_that_does_not_fit_is_refused_before_anything_is_generated(
    tiny: Path, ask: Ask
) -> None:
    fine, long = ask(["short", "x" * 90], max_tokens=20)
    with (
        Engine(tiny, "tiny", dataclasses.replace(EXACT, n_ctx=100)) as small,
        pytest.raises(ContextOverflow, match=r"sample-1 .* 91 prompt \+ 20 .* holds 100"),
    ):
        next(small.generate([fine, long]))


def test_tokens_of_another_vocabulary_are_refused(engine: Engine, ask: Ask) -> None:
    request = ask(["hello"])[0]
    other = dataclasses.replace(request.prompt, token_ids=(1, 99999))
    with pytest.raises(EngineError, match="99999"):
        next(engine.generate([dataclasses.replace(request, prompt=other)]))


def test_logits_that_are_not_finite_fail_the_request_and_not_the_run(tmp_path: Path) -> None:
    broken = tinygguf.write_llama(tmp_path / "nan.gguf", nan=True)
    with Engine(broken, "nan", EXACT) as engine:
        found = list(engine.generate(make_requests(engine.tokenizer, ["a", "b"])))
    assert [g.finish_reason for g in found] == ["failed", "failed"]
    assert "finite" in (found[0].error or "")


def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.gguf").write_bytes(b"GGUF" + b"\x00" * 100)
    with pytest.raises(ModelInvalid, match=r"bad\.gguf"):
        Engine(tmp_path / "bad.gguf", "x", EXACT)


@pytest.mark.slow
def test_sampling_repeats_with_its_seed_and_differs_between_seeds_and_epochs(
    engine: Engine, ask: Ask
) -> None:
    def drawn(**options: int) -> str:
        return next(engine.generate(ask(["once"], temperature=1.0, **options))).text

    assert drawn(seed=0) == drawn(seed=0)
    assert len({drawn(seed=0), drawn(seed=1), drawn(seed=0, epoch=1)}) == 3


@pytest.mark.slow
def test_an_items_draws_do_not_depend_on_its_neighbours(engine: Engine, ask: Ask) -> None:
    requests = ask(mixed_texts(12), temperature=0.9, top_k=50, top_p=0.95, min_p=0.01)
    together = {g.request_key: g.text for g in engine.generate(requests)}
    alone = {r.key: next(engine.generate([r])).text for r in requests[:4]}
    assert all(together[key] == text for key, text in alone.items())


def test_top_k_of_one_is_greedy(engine: Engine, ask: Ask) -> None:
    greedy = next(engine.generate(ask(["once"]))).text
    assert next(engine.generate(ask(["once"], temperature=1.0, top_k=1))).text == greedy


@pytest.mark.slow
def test_a_device_that_chooses_greedy_tokens_chooses_the_same(
    tiny: Path, engine: Engine, ask: Ask
) -> None:
    requests = ask(mixed_texts(20), max_tokens=10)
    drawn = ask(["once"], temperature=1.0)
    expected = {g.request_key: g.text for g in engine.generate(requests)}
    sampled = next(engine.generate(drawn)).text
    with Engine(tiny, "tiny", EXACT, on_device=True) as other:
        assert {g.request_key: g.text for g in other.generate(requests)} == expected
        assert next(other.generate(drawn)).text == sampled
        assert {g.request_key: g.text for g in other.generate(requests)} == expected


def test_a_logit_bias_forces_and_forbids_tokens(engine: Engine, ask: Ask) -> None:
    forced = ask(["once"], logit_bias=((ord("z"), 1000.0),), max_tokens=5)
    assert next(engine.generate(forced)).text == "zzzzz"
    first = next(engine.generate(ask(["once"], max_tokens=1))).token_ids[0]
    forbidden = ask(["once"], logit_bias=((first, -math.inf),), max_tokens=1)
    assert next(engine.generate(forbidden)).token_ids[0] != first


def test_a_presence_penalty_stops_a_forced_repetition(engine: Engine, ask: Ask) -> None:
    requests = ask(["a"], logit_bias=((ord("z"), 30.0),), presence_penalty=60.0, max_tokens=4)
    assert next(engine.generate(requests)).text.count("z") == 1


def test_the_logit_rules_end_an_answer_and_forbid_repeats_and_openers(
    engine: Engine, ask: Ask
) -> None:
    plain = next(engine.generate(ask(["once"], max_tokens=20)))
    ending = LogitRules(eos_slope=5.0, eos_cap=1000.0)
    ended = next(engine.generate(ask(["once"], rules=ending, max_tokens=20)))
    assert ended.finish_reason == "eos"
    assert ended.completion_tokens < 20
    used = next(engine.generate(ask(["once"], rules=LogitRules(used_penalty=1e6), max_tokens=20)))
    assert len(set(used.token_ids)) == len(used.token_ids)
    opener = LogitRules(openers=((plain.token_ids[0], -1e6),))
    opened = next(engine.generate(ask(["once"], rules=opener)))
    assert opened.token_ids[0] != plain.token_ids[0]


def test_a_stop_string_cuts_the_answer_and_the_reason_says_so(engine: Engine, ask: Ask) -> None:
    bias = ((ord("z"), 1000.0),)
    requests = ask(["once"], stops=("zzz",), logit_bias=bias, max_tokens=20, overrun=2)
    found = next(engine.generate(requests))
    assert (found.text, found.answer, found.finish_reason) == ("zzzzz", "", "stop")


def test_text_is_streamed_as_it_is_decoded(engine: Engine, ask: Ask) -> None:
    shown: list[tuple[str, str]] = []
    request = ask(["once"], logit_bias=((ord("z"), 1000.0),), max_tokens=6)[0]
    found = next(engine.generate([request], on_token=lambda key, text: shown.append((key, text))))
    assert "".join(text for _, text in shown) == found.answer
    assert {key for key, _ in shown} == {request.key}
    assert len(shown) == 6


def test_the_identity_is_known_without_a_model_and_equals_the_engines(engine: Engine) -> None:
    assert engine_identity(EXACT) == engine.identity


def test_asking_for_offload_on_a_cpu_build_is_noted(tiny: Path) -> None:
    settings = dataclasses.replace(EXACT, n_gpu_layers=-1)
    if engine_identity(settings).backend != "CPU":
        pytest.skip("this build has a GPU backend")
    with Engine(tiny, "tiny", settings) as engine:
        assert "no GPU backend" in engine.notes[0]
        assert engine.identity.n_gpu_layers == 0


def test_the_tokenizer_needs_no_weights_and_is_the_engines(tiny: Path, engine: Engine) -> None:
    with open_tokenizer(tiny) as tokenizer:
        assert tokenizer.bos_id == tinygguf.BOS
        assert tokenizer.add_bos
        assert tokenizer.eog_ids >= {tinygguf.EOS}
        assert tokenizer.control_tokens[tinygguf.IM_START] == "<|im_start|>"
        texts = ["h\u00e9llo", "<|im_start|>x"]
        for special in (True, False):
            options = {"add_special": special, "parse_special": special}
            assert tokenizer.tokenize(texts, **options) == engine.tokenizer.tokenize(
                texts, **options
            )
        assert tokenizer.token_text(ord("q")) == "q"


@pytest.mark.slow
def test_a_recurrent_model_shares_a_prefix_through_a_holder(mamba: Path) -> None:
    with Engine(mamba, "mamba", EXACT) as engine:
        requests = make_requests(engine.tokenizer, mixed_texts(10), max_tokens=12)
        together = {g.request_key: g.text for g in engine.generate(requests)}
        assert engine.tally["reused"] > 0
        alone = {r.key: next(engine.generate([r])).text for r in requests}
    assert together == alone


def test_a_shared_prefix_is_decoded_once(engine: Engine, ask: Ask) -> None:
    before = dict(engine.tally)
    texts = ["p" * 320 + f" item {index}" for index in range(24)]
    list(engine.generate(ask(texts, max_tokens=2)))
    prefilled = engine.tally["prefilled"] - before.get("prefilled", 0)
    assert prefilled < 320 + 24 * 40


ROOMY = dataclasses.replace(EXACT, n_ctx=32768)
"""16 sequences of 32,768 tokens take 128 MiB in the tiny model, 8 take 64 MiB."""


@pytest.fixture(scope="module")
def roomy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinygguf.write_llama(tmp_path_factory.mktemp("gguf") / "roomy.gguf", context=1 << 16)


def test_short_memory_means_fewer_slots_and_the_same_answers(roomy: Path, engine: Engine) -> None:
    requests = make_requests(engine.tokenizer, mixed_texts(12), max_tokens=8)
    expected = {g.request_key: g.text for g in engine.generate(requests)}
    with Engine(roomy, "tiny", ROOMY, memory=120 << 20) as short:
        assert {g.request_key: g.text for g in short.generate(requests)} == expected
        assert short.plan == {"slots": 8, "sizes": [8]}


def test_memory_that_suffices_for_no_plan_is_one_line(roomy: Path, ask: Ask) -> None:
    with (
        Engine(roomy, "tiny", ROOMY, memory=64 << 20) as short,
        pytest.raises(EngineError, match=r"do not fit into memory; lower"),
    ):
        list(short.generate(ask(["x"])))


@pytest.mark.parametrize(("name", "value"), [("width", 1), ("parallel", 0), ("chunk", 1)])
def test_settings_that_cannot_work_are_refused(tiny: Path, name: str, value: int) -> None:
    with pytest.raises(EngineError, match=f"engine.{name} is {value}"):
        Engine(tiny, "tiny", dataclasses.replace(EXACT, **{name: value}))


def test_sampling_defaults_are_greedy() -> None:
    assert Sampling().temperature == 0


def two_conditions(count: int) -> list[str]:
    """Prompts of two conditions in turn, alike in their first chunk and in 300 bytes of their own.

    The items of each differ in length, and one prompt shares the first chunk only.
    """
    opening = "h" * 40
    return [opening + "apart"] + [
        opening + condition * 300 + f" item {index} " + "x" * (index % 5)
        for index in range(count)
        for condition in "AB"
    ]


def test_a_recurrent_model_holds_the_prefix_of_each_condition(mamba: Path) -> None:
    with Engine(mamba, "mamba", EXACT) as engine:
        requests = make_requests(engine.tokenizer, two_conditions(10), max_tokens=4)
        together = {g.request_key: g.text for g in engine.generate(requests)}
        assert engine.tally["prefilled"] < 2 * 320 + 21 * 50
        alone = {r.key: next(engine.generate([r])).text for r in requests[::7]}
    assert {key: together[key] for key in alone} == alone


def test_conditions_in_turn_do_not_drive_each_other_out_of_one_slot(tiny: Path) -> None:
    with Engine(tiny, "tiny", dataclasses.replace(EXACT, parallel=1)) as engine:
        list(engine.generate(make_requests(engine.tokenizer, two_conditions(10), max_tokens=2)))
        assert engine.tally["prefilled"] < 2 * 320 + 21 * 50


COUNTED = (
    "import sys; open(sys.argv[1], 'a').write('x'); from harness.engine.worker import main; main()"
)


def answered_by_one_child(
    path: Path,
    texts: list[str],
    settings: EngineSettings,
    started: Path,
    memory: int,
    **sampled: float,
) -> int:
    """Slots of the plan that answered every request, 0 where the engine said that none fits."""
    started.write_text("", encoding="utf-8")
    worker = (sys.executable, "-c", COUNTED, str(started))
    with Engine(path, "x", settings, memory=memory << 20, worker=worker) as engine:
        requests = make_requests(engine.tokenizer, texts, **sampled)
        try:
            found = list(engine.generate(requests))
            slots = engine.plan["slots"]
        except EngineError as error:
            assert "do not fit into memory" in str(error), f"{memory} MiB"
            found, slots = [], 0
    assert [g.error for g in found if g.error] == []
    assert started.read_text(encoding="utf-8") == "x", f"with {memory} MiB the child died"
    return slots


@pytest.mark.slow
def test_no_limit_of_memory_ends_the_child(roomy: Path, tmp_path: Path) -> None:
    limits = (12, 80, 120, 150, 165, 180, 190, 240)
    started = tmp_path / "started"
    slots = [
        answered_by_one_child(roomy, mixed_texts(6), ROOMY, started, memory, max_tokens=4)
        for memory in limits
    ]
    assert slots == sorted(slots)
    assert {0, 8, 16} == set(slots)


@pytest.mark.real
@pytest.mark.slow
def test_sampler_chains_of_a_large_vocabulary_are_planned_for(tmp_path: Path) -> None:
    gemma = Path(__file__).parents[2] / "weights" / "gemma-3-270m-Q4_K_M.gguf"
    if not gemma.is_file():
        pytest.fail(f"{gemma} is missing: run `make setup-weights`")
    settings = EngineSettings(threads=2, n_ctx=2048)
    texts, started = [f"word {index}" for index in range(20)], tmp_path / "started"
    for memory in (640, 742, 860):
        sampled = {"temperature": 0.8, "top_p": 0.9, "max_tokens": 2}
        assert answered_by_one_child(gemma, texts, settings, started, memory, **sampled)


def test_a_process_started_ahead_serves_the_next_model_and_none_is_left(
    tiny: Path, ask: Ask
) -> None:
    requests = ask(["abc"], max_tokens=4)
    with Engine(tiny, "tiny", EXACT) as first:
        first.expect_another()
        (spare,) = pipe._spares
        expected = [g.text for g in first.generate(requests)]
    with Engine(tiny, "tiny", EXACT) as second:
        assert second.pid == spare.pid
        assert [g.text for g in second.generate(requests)] == expected
        second.expect_another()
        (spare,) = pipe._spares
    spare.kill()
    spare.wait()
    with Engine(tiny, "tiny", EXACT) as third:
        assert third.pid != spare.pid, "one that died is not used"
        third.expect_another()
        (spare,) = pipe._spares
    dismiss_spares()
    assert spare.poll() is not None
