"""One question to the raw base, the wrapped base and the instruct model."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import harness
from harness import asking
from harness.asking import Asking
from harness.cli.ask import _columns, as_markdown, as_text, footing, title
from harness.config import LLAMA_CPP, Experiment, parse_experiment
from harness.engine.fake import FAKE_IDENTITY, FakeEngine, FakeTokenizer
from harness.errors import ConfigError, PromptContractError, TemplateError
from harness.experiment import Backends, Finding, StageModel
from harness.experiment.llama import LlamaCpp
from harness.records import Condition, EngineSettings, ModelFile, Request

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def reply(request: Request) -> str:
    if request.condition.strategy == "raw":
        return "\nWhat is the capital of Spain?"
    return "Paris\nQuestion: and Spain?"


class Seated(FakeEngine):
    """The fake engine with what an asking needs to know of its model."""

    opened: list[Seated] = []  # noqa: RUF012

    def __init__(self, model: ModelFile, settings: EngineSettings) -> None:
        super().__init__(reply, identity=FAKE_IDENTITY, tokenizer=FakeTokenizer())
        self.path, self.settings = model.path, settings
        self.opened.append(self)


def model(name: str) -> ModelFile:
    return ModelFile(
        path=Path(f"{name}.gguf"), sha256=name, size=1, architecture="llama", parameters=1,
        context_length=512, tokenizer_digest="t", chat_template=CHATML, bits_per_weight=16.0,
        tensor_types={},
    )  # fmt: skip


class Seats(LlamaCpp):
    """Two stages whose files need not exist, run by seated engines."""

    def models(
        self, experiment: Experiment, stages: Sequence[str], finding: Finding
    ) -> tuple[StageModel, ...]:
        level = experiment.level_names[0]
        return tuple(StageModel(name, level, model(name), None, CHATML) for name in stages)

    def open(
        self, model: ModelFile, settings: EngineSettings, devices: Sequence[str] = ()
    ) -> Seated:
        return Seated(model, settings)


def seats() -> Backends:
    return Backends({LLAMA_CPP: Seats()})


@pytest.fixture
def experiment() -> Experiment:
    """An experiment of three stages and two levels."""
    Seated.opened = []
    stages = {"base": "b.gguf", "sft": "s.gguf", "instruct": "i.gguf"}
    mine = {"id": "qa", "as": "mine", "prefill": "Well,"}
    strategies = {"base": ["raw", "qa", mine], "sft": ["native"], "instruct": ["native"]}
    data: dict[str, Any] = {"name": "x", "stages": stages, "strategies": strategies}
    return parse_experiment({**data, "levels": ["F16", "Q4_K_M"]}, "file.yaml")


def put(experiment: Experiment, question: str = "Capital of France?", **options: Any) -> Any:
    system = options.pop("system", None)
    with Asking(experiment, backends=seats(), **options) as asking:
        return {answer.condition: answer for answer in asking.ask(question, system=system)}


def test_the_three_columns_of_the_exercise_are_the_default(experiment: Experiment) -> None:
    answers = put(experiment)
    assert [title(condition) for condition in answers] == [
        "base F16, raw",
        "base F16, sys_qa",
        "instruct F16, native",
    ]
    raw, wrapped, instruct = answers.values()
    assert raw.prompt.text == "Capital of France?"
    assert wrapped.text == "Paris"
    assert wrapped.generation.finish_reason == "stop"
    assert instruct.prompt.special_tokens


def test_a_stage_that_nobody_asks_is_not_loaded(experiment: Experiment) -> None:
    put(experiment)
    assert [engine.path.stem for engine in Seated.opened] == ["base", "instruct"]
    assert all(engine.closed for engine in Seated.opened)


def test_a_model_decodes_as_in_a_run_however_many_columns_there_are(
    experiment: Experiment,
) -> None:
    put(experiment)
    put(experiment, chosen=["qa", "sys_qa", "alpaca"])
    assert {engine.settings for engine in Seated.opened} == {experiment.engine.settings(0)}


def test_a_system_prompt_of_ones_own_reaches_every_column_but_raw(experiment: Experiment) -> None:
    raw, wrapped, instruct = put(experiment, system="You are a pirate.").values()
    assert "pirate" not in raw.prompt.text
    assert wrapped.prompt.text.startswith("You are a pirate.\n\nQuestion:")
    assert "You are a pirate." in instruct.prompt.text


def test_the_experiments_own_entries_can_be_asked_by_name(experiment: Experiment) -> None:
    answers = put(experiment, chosen=["mine", "alpaca"])
    mine = answers[Condition("base", "F16", "mine")]
    assert mine.prompt.prefill == "Well,"
    assert mine.text == "Well,Paris"
    assert Condition("base", "F16", "alpaca") in answers


def test_answers_are_kept_where_a_store_is_given(experiment: Experiment, tmp_path: Path) -> None:
    def told(store: Path | None) -> list[tuple[str, bool]]:
        with Asking(experiment, backends=seats(), store=store) as asking:
            return [(answer.text, answer.stored) for answer in asking.ask("Capital of France?")]

    first, again, bare = told(tmp_path / "s"), told(tmp_path / "s"), told(None)
    assert [text for text, _ in first] == [text for text, _ in again] == [text for text, _ in bare]
    assert {stored for _, stored in (*first, *bare)} == {False}
    assert {stored for _, stored in again} == {True}


def test_the_models_stay_loaded_between_two_questions(experiment: Experiment) -> None:
    with Asking(experiment, backends=seats()) as asking:
        first = list(asking.ask("One?"))
        second = list(asking.ask("Two?"))
    assert len(Seated.opened) == 2
    assert {a.prompt.text for a in first}.isdisjoint({a.prompt.text for a in second})


def test_answers_stream_as_they_come(experiment: Experiment) -> None:
    heard: dict[str, str] = {}

    def told(condition: Condition, text: str) -> None:
        heard[condition.strategy] = heard.get(condition.strategy, "") + text

    with Asking(experiment, backends=seats()) as asking:
        list(asking.ask("One?", on_text=told))
    assert heard["sys_qa"] == "Paris"


def test_another_level_is_asked_by_name_and_an_unknown_one_refused(experiment: Experiment) -> None:
    assert next(iter(put(experiment, level="Q4_K_M"))).level == "Q4_K_M"
    with pytest.raises(ConfigError, match="level 'Q9' is not one of its levels: F16, Q4_K_M"):
        put(experiment, level="Q9")


def test_an_unknown_strategy_is_one_line_before_anything_is_loaded(experiment: Experiment) -> None:
    with pytest.raises(TemplateError, match="no strategy 'qaa'"):
        put(experiment, chosen=["qaa"])
    assert Seated.opened == []


def test_model_text_cannot_act_on_the_terminal_or_the_markdown(experiment: Experiment) -> None:
    answer = next(iter(put(experiment).values()))
    evil = dataclasses.replace(
        answer, generation=dataclasses.replace(answer.generation, answer="\x1b[2J```\n# Hi")
    )
    assert "\x1b" not in as_text(evil)
    pasted = as_markdown("What?", None, [evil])
    assert "\x1b" not in pasted
    assert "````text\n" in pasted


@pytest.mark.parametrize(("width", "tops"), [(80, 1), (50, 3), (20, 3)])
def test_the_columns_show_finish_reason_and_counts_whole_at_any_width(
    experiment: Experiment, width: int, tops: int
) -> None:
    from rich.console import Console

    answers = put(experiment)
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(_columns(dict.fromkeys(answers, ""), answers, width))
    shown = console.export_text()
    assert sum("╭" in line for line in shown.splitlines()) == tops
    inside = [cell.strip() for line in shown.splitlines() for cell in line.split("│")]
    for word in " ".join(footing(answer) for answer in answers.values()).split():
        assert any(word in cell.split() for cell in inside), shown


def test_a_prompt_that_breaks_its_contract_stops_every_model_before_it_answers(
    experiment: Experiment,
) -> None:
    heard: list[str] = []
    with Asking(experiment, backends=seats()) as asking:
        with pytest.raises(PromptContractError, match="item question"):
            list(asking.ask("What is <|im_end|>?", on_text=lambda _, text: heard.append(text)))
        assert heard == []
        assert len(list(asking.ask("And now?"))) == 3


def test_harness_ask_is_the_same_in_python() -> None:
    assert harness.ask is asking.ask
