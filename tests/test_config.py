"""Experiment files: what is accepted, and the one line a wrong one gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.config import Experiment, MadeLevels, load_experiment, parse_experiment
from harness.errors import ConfigError
from harness.experiment import with_pair
from harness.experiment.override import override
from harness.records import Cell, Condition, Message, Sample
from harness.resources import resource_dir
from harness.strategies import load_templates, preview

PAIR: dict[str, Any] = {
    "name": "x",
    "stages": {"base": "b.gguf", "instruct": {"model": "i.gguf"}},
}


def parse(**changes: Any) -> Experiment:
    return parse_experiment({**PAIR, **changes}, "file.yaml")


def labels(experiment: Experiment, stage: str) -> list[str]:
    return [arm.label for arm in experiment.arms(stage)]


@pytest.mark.parametrize("path", sorted(resource_dir("experiments").glob("*.yaml")), ids=str)
def test_every_shipped_experiment_loads(path: Path) -> None:
    assert load_experiment(path).name


def test_a_shipped_experiment_is_found_by_its_name() -> None:
    assert load_experiment("cross-family").warning


def test_the_defaults_are_the_standard_arms() -> None:
    experiment = parse()
    assert labels(experiment, "base") == ["raw", "raw_nl", "qa", "sys_qa", "icl_3"]
    assert labels(experiment, "instruct") == ["native", "raw"]
    assert experiment.level_names == ("as-is",)
    assert experiment.recovery_pair() == ("base", "instruct")
    assert experiment.sampling.record().temperature == 0


def test_made_levels_start_with_the_level_they_are_made_from() -> None:
    made = parse(levels={"from": "F16", "make": ["Q8_0", "Q2_K"]})
    assert made.level_names == ("F16", "Q8_0", "Q2_K")


def test_an_arm_carries_what_composes_with_its_template() -> None:
    entry = {"id": "qa", "as": "qa2", "prefill": "Sure", "vars": {"topic": "maps"}}
    arm = parse(strategies={"base": [entry], "instruct": ["native"]}).arms("base")[0]
    assert (arm.strategy, arm.label, arm.prefill) == ("qa", "qa2", "Sure")
    assert arm.variables == {"topic": "maps"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"levls": []}, "levls: unknown key; did you mean 'levels'? accepted: name,"),
        ({"sampling": {"temprature": 1}}, "sampling.temprature: unknown key; did you mean 'temp"),
        ({"sampling": {"top_p": 2}}, "sampling.top_p: wanted less than or equal to 1"),
        ({"engine": {"mode": "slow"}}, "engine.mode: wanted 'exact' or 'fast'"),
        ({"engine": {"parallel": 32}}, "32 busy slots do not fit width 16"),
        ({"stages": {"base": {"modl": "a"}}}, "stages.base.modl: unknown key; did you mean 'mode"),
        (
            {"strategies": {"bse": ["raw"]}},
            "strategies: 'bse' is unknown; did you mean 'base'? accepted: base, instr",
        ),
        ({"strategies": ["raw", "raw"]}, "'raw' appears twice; give one another name with `as:`"),
        ({"strategies": [{"id": "qa", "prefil": ""}]}, "strategies.0.prefil: unknown key; did you"),
        ({"levels": {"from": "F16"}}, "levels.make: this key is required and missing"),
        ({"controls": ["yess"]}, "controls.0: wanted 'empty', 'yes'"),
        ({"recovery": {"instruct": "chat"}}, "recovery.instruct: 'chat' is unknown; accepted: ba"),
        ({"contrasts": [{"name": "c", "a": "x", "b": "y"}]}, "written stage/level/strategy"),
        (
            {"contrasts": [{"name": "c", "a": "base/as-is/raw", "b": "base/as-is/qq"}]},
            "contrasts (c): 'qq' is unknown; accepted: raw, raw_nl",
        ),
        ({"name": "../up"}, "name: a text should match pattern"),
    ],
    ids=str,
)
def test_a_wrong_file_gets_one_line_naming_file_key_and_choices(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(**changes)
    assert said in str(caught.value)
    assert str(caught.value).startswith("file.yaml: ")
    assert "\n" not in str(caught.value)


def test_a_missing_experiment_names_the_shipped_ones() -> None:
    with pytest.raises(ConfigError, match=r"no experiment 'nope'.*cross-family"):
        load_experiment("nope")


@pytest.mark.parametrize("content", [b"a: [", b"- 1", b"\xff\xfe", b"!!python/object:os.x {}"])
def test_a_file_that_is_no_yaml_mapping_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"bad\.yaml"):
        load_experiment(path)


def test_selected_strategies_keep_what_the_recovered_share_needs() -> None:
    chosen = override(parse(), strategies=["qa", "urial_3"])
    assert labels(chosen, "base") == ["raw", "qa", "urial_3"]
    assert labels(chosen, "instruct") == ["native"]


def test_selected_levels_may_leave_out_the_one_they_are_made_from() -> None:
    made = parse(levels={"from": "F16", "make": ["Q8_0", "Q2_K"]})
    assert override(made, quants=["Q2_K", "Q3_K_M"]).level_names == ("Q2_K", "Q3_K_M")
    assert override(made, quants=["Q2_K", "F16"]).level_names == ("F16", "Q2_K")


def test_a_contrast_whose_conditions_were_deselected_is_left_out() -> None:
    contrast = {"name": "c", "a": "base/as-is/raw", "b": "base/as-is/qa"}
    declared = parse(contrasts=[contrast])
    assert override(declared, strategies=["icl_3"]).contrasts == ()
    kept = override(declared, strategies=["qa"]).declared_contrasts()
    raw, qa = (Condition("base", "as-is", name) for name in ("raw", "qa"))
    assert kept == (("c", raw, qa),)


def test_more_busy_slots_than_the_width_widen_the_decode() -> None:
    assert override(parse(), parallel=32).engine.width == 32
    assert override(parse(), parallel=4).engine.width == 16


def test_an_experiment_survives_being_written_into_a_manifest() -> None:
    import json

    first = parse(levels={"from": "F16", "make": ["Q8_0"]}, suites=[{"ifeval": None}])
    again = parse_experiment(json.loads(first.model_dump_json(by_alias=True)), "manifest.json")
    assert again == first


def test_the_documented_experiment_is_one(tmp_path: Path) -> None:
    """The page shows two ways to name the stages; each is valid, and its prompts can be asked."""
    page = (resource_dir("models").parent / "docs" / "experiments.md").read_text(encoding="utf-8")
    shown = yaml.safe_load(page.split("```yaml\n")[1].split("```")[0])
    shown["stages"]["instruct"]["sha256"] = {"Q8_0": "0" * 64}
    pair = parse_experiment({k: v for k, v in shown.items() if k != "stages"}, "the page")
    assert pair.pair == "smollm2-135m"
    own = parse_experiment({k: v for k, v in shown.items() if k != "pair"}, "the page")
    templates = load_templates()
    item = Sample("x", (Message("user", "Name a tea."),), (), ablated="Name a tea.")
    for arm in own.arms("base"):
        assert "Name a tea." in preview(item, arm, templates[arm.strategy])


def test_a_pairs_names_are_checked_once_it_is_there() -> None:
    contrast = {"name": "c", "a": "base/Q8_0/raw", "b": "base/Q8_0/qa"}
    named: dict[str, Any] = {"name": "x", "pair": "smollm2-135m", "contrasts": [contrast]}
    assert with_pair(parse_experiment(named, "file.yaml"), None).declared_contrasts()
    wrong = {**named, "contrasts": [{**contrast, "a": "chat/Q8_0/raw"}]}
    with pytest.raises(ConfigError, match="'chat' is unknown; accepted: base, instruct"):
        with_pair(parse_experiment(wrong, "file.yaml"), None)


def test_paths_lead_from_the_experiments_own_folder_wherever_the_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "mine"
    (place / "wrap").mkdir(parents=True)
    for name in ("base-F16.gguf", "own.jsonl", "mine.py", "chat.jinja"):
        (place / name).write_text("", encoding="utf-8")
    (place / "exp.yaml").write_text(
        "name: mine\n"
        "stages:\n"
        "  base: {model: 'base-{level}.gguf', chat_template: chat.jinja}\n"
        "  instruct: someone/model-GGUF:Q8_0\n"
        "levels: [F16]\n"
        "suites: [own.jsonl, starter, {ifeval: elsewhere.jsonl}]\n"
        "templates: [wrap]\n"
        "checks: [mine.py]\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    for source in (place / "exp.yaml", Path("mine/exp.yaml")):
        found = load_experiment(source)
        assert found.stages["base"].model == str(place / "base-{level}.gguf")
        assert found.stages["base"].chat_template == str(place / "chat.jinja")
        assert found.stages["instruct"].model == "someone/model-GGUF:Q8_0"
        assert found.suites == (
            str(place / "own.jsonl"),
            "starter",
            {"ifeval": "elsewhere.jsonl"},
        )
        assert (found.templates, found.checks) == (
            (str(place / "wrap"),),
            (str(place / "mine.py"),),
        )


def test_a_made_level_has_the_matrix_its_name_asks_for() -> None:
    both = MadeLevels.model_validate(
        {"from": "F16", "make": ["Q4_K_M", "Q4_K_M+imatrix"], "imatrix": "i.gguf"}
    )
    assert both.recipe("Q4_K_M") == ("Q4_K_M", None)
    assert both.recipe("Q4_K_M+imatrix") == ("Q4_K_M", "i.gguf")
    every = MadeLevels.model_validate({"from": "F16", "make": ["Q4_K_M"], "imatrix": "i.gguf"})
    assert every.recipe("Q4_K_M") == ("Q4_K_M", "i.gguf")
    with pytest.raises(ValueError, match=r"Q2_K\+imatrix needs an importance matrix"):
        MadeLevels.model_validate({"from": "F16", "make": ["Q2_K+imatrix"]})


def test_the_shipped_quantization_experiments_say_what_they_are() -> None:
    tiny, real = (load_experiment(name) for name in ("quant-tiny", "quant-real"))
    assert len(tiny.level_names) == 7  # F16 and six made of it
    assert tiny.measure and real.measure
    assert "itself Q4_K_M" in (real.warning or "")


def test_a_cell_and_a_condition_are_read_as_they_are_written() -> None:
    condition = Condition("base", "Q8_0", "qa (ablated)")
    assert Condition.named(str(condition)) == condition
    assert condition.cell == Cell.named("base/Q8_0") and str(condition.cell) == "base/Q8_0"
    assert Condition.named("base/Q8_0/mine/v2").strategy == "mine/v2"
    assert Condition.named("odd") == Condition("odd", "", "")
    assert Cell.named("odd") == ("odd", "")
