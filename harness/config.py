"""The experiment file: what is compared, as pydantic models, with one-line errors.

An experiment names stages (or a ``pair`` of the family registry), quantization levels, strategies
per stage, suites, decoding and engine settings, and what the recovered share compares. See
``docs/experiments.md`` for a commented example.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from harness.errors import ConfigError
from harness.intake import load_yaml, meant, near, plainly, read_text, shown
from harness.records import ABLATED, OPENING_REMOVED, Arm, Condition, EngineSettings, Sampling
from harness.resources import find_resource, resource_dir

LLAMA_CPP = "llama.cpp"
"""The backend of a stage that names no other."""

ENDPOINT = "endpoint"
"""The backend of a stage that names a server's address."""

WITH_IMATRIX = "+imatrix"
"""Ends the name of a made level that has an importance matrix where another has none."""

AS_IS = "as-is"
"""The level of a stage whose file is used as it is, whatever its quantization."""

BASE_STRATEGIES = ("raw", "raw_nl", "qa", "sys_qa", "icl_3")
TUNED_STRATEGIES = ("native", "raw")
Control = Literal["empty", "yes", "paragraph", "echo", "loop", "majority"]
CONTROL_NAMES: tuple[Control, ...] = get_args(Control)
CONTROLS: tuple[Control, ...] = ("empty", "yes", "paragraph", "echo", "loop")


_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,64}")
NAME_LENGTH = 100
"""Characters of the longest experiment name: it becomes the name of a folder."""


def _digest(value: str) -> str:
    if not _SHA256.fullmatch(value):
        raise ValueError(f"a sha256 is 64 hexadecimal digits, found {shown(value)}")
    return value.lower()


def _nameable(value: str, what: str) -> str:
    """A stage's, level's or arm's name: it stands between slashes and in file names."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"{what} is 1 to 64 characters without a slash or a line break, found {shown(value)}"
        )
    return value


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Stage(_Model):
    """One model of the ladder.

    ``model`` is a path (``{level}`` in it stands for the level), ``repo:QUANT``,
    ``repo@revision:file`` or ``family/stage``; a repository without a level gets each level asked
    for. ``sha256`` pins the file, or each level's file by name. ``backend`` runs this stage where
    it is not the experiment's; what ``model`` means is then that backend's. With an ``endpoint``
    (a server's address) ``model`` is the name the server knows it by, ``key_env`` the environment
    variable that holds the key. ``fixed`` runs it at the first level alone, whatever the others run
    at.
    """

    model: str = ""
    adapter: str | None = None
    scale: float = 1.0
    sha256: str | Mapping[str, str] | None = None
    chat_template: str | None = None
    backend: str | None = None
    fixed: bool = False
    endpoint: str | None = None
    api: Literal["auto", "llama-server", "openai"] | None = None
    key_env: str | None = Field(None, pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")
    timeout: float | None = Field(None, gt=0, le=86_400)
    retries: int | None = Field(None, ge=0, le=20)

    @model_validator(mode="after")
    def _whose(self) -> Stage:
        if self.endpoint is None:
            given = [n for n in ("api", "key_env", "timeout", "retries") if getattr(self, n)]
            if given:
                raise ValueError(f"{given[0]} belongs to an endpoint, and this stage names none")
            if not self.model:
                raise ValueError("model: this key is required and missing")
            return self
        for name in ("adapter", "sha256", "backend"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for a model file; a server's model has its own")
        return self

    @field_validator("sha256")
    @classmethod
    def _digests(cls, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {level: _digest(given) for level, given in value.items()}
        return None if value is None else _digest(value)

    def pin(self, level: str) -> str | None:
        """The sha256 this stage's file must have at a level, if the experiment pins one."""
        return self.sha256.get(level) if isinstance(self.sha256, Mapping) else self.sha256


class MadeLevels(_Model):
    """Levels that llama.cpp's quantizer makes here from the file of level ``from``.

    Every level is made with the importance matrix ``imatrix``, if there is one; where names end in
    ``+imatrix`` (``[Q4_K_M, Q4_K_M+imatrix]``) only those are. ``requantize`` permits a source that
    is quantized already. ``only`` narrows the grid to some of them (``--quants``).
    """

    source: str = Field(alias="from")
    make: tuple[str, ...]
    imatrix: str | None = None
    requantize: bool = False
    only: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _has_matrix(self) -> MadeLevels:
        marked = [name for name in self.make if name.endswith(WITH_IMATRIX)]
        if marked and self.imatrix is None:
            raise ValueError(f"{marked[0]} needs an importance matrix: give it under imatrix")
        return self

    def recipe(self, level: str) -> tuple[str, str | None]:
        """llama.cpp's name of a level, and the importance matrix it is made with, if any."""
        some = any(name.endswith(WITH_IMATRIX) for name in self.make)
        wanted = level.endswith(WITH_IMATRIX) or not some
        return level.removesuffix(WITH_IMATRIX), self.imatrix if wanted else None

    @property
    def names(self) -> tuple[str, ...]:
        """The levels of the grid, the source first unless it is left out."""
        every = tuple(dict.fromkeys((self.source, *self.make)))
        return every if self.only is None else tuple(n for n in every if n in self.only)


class StrategyEntry(_Model):
    """A strategy with what composes with any of them.

    ``ablated`` asks every item without its instruction: the name ends in `` (ablated)`` then.
    """

    id: str
    label: str | None = Field(default=None, alias="as")
    system: str | None = None
    persona: str | None = None
    prefill: str | None = None
    variables: Mapping[str, str] = Field(default_factory=dict, alias="vars")
    ablated: bool = False

    @field_validator("id", "label")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value is not None and value.endswith((ABLATED, OPENING_REMOVED)):
            raise ValueError(f"a name that ends in {shown(value[value.rindex(' (') :])} is taken")
        return None if value is None else _nameable(value, "a strategy's name")

    @property
    def name(self) -> str:
        """What the arm is called in reports."""
        return (self.label or self.id) + ABLATED * self.ablated

    def arm(self) -> Arm:
        """The entry as the record strategies are rendered with."""
        return Arm(
            strategy=self.id,
            label=self.name,
            system=self.system,
            persona=self.persona,
            prefill=self.prefill,
            variables=dict(self.variables),
            ablated=self.ablated,
        )


def is_url(text: str) -> bool:
    """Whether a stage is named by a server's address."""
    return text.lower().startswith(("http://", "https://"))


def _stage(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return {"endpoint" if is_url(value) else "model": value}


def _entry(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    name = value.removesuffix(ABLATED)
    return {"id": name, "ablated": True} if name != value else {"id": name}


def strategy_entry(name: str) -> StrategyEntry:
    """A strategy by its name alone, ``qa`` or ``qa (ablated)``; raises pydantic's error."""
    return StrategyEntry.model_validate(_entry(name))


StageEntry = Annotated[Stage, BeforeValidator(_stage)]
Entry = Annotated[StrategyEntry, BeforeValidator(_entry)]


def _control(value: Any) -> Any:
    """YAML reads a plain ``yes`` as true."""
    if value is True:
        raise ValueError('YAML reads a plain yes as true: put it in quotes, "yes"')
    return value


class Constant(_Model):
    """A responder that says one text, whatever is asked: ``{text: high}``, with a name or not."""

    text: str
    label: str | None = Field(default=None, alias="as")

    @field_validator("label")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        return None if value is None else _nameable(value, "a control's name")

    @property
    def name(self) -> str:
        """What the control is called in reports."""
        plain = " ".join(self.text.replace("/", " ").split())
        return self.label or f"says {plain if len(plain) <= 40 else plain[:39] + '…'}".rstrip()


class SamplingConfig(_Model):
    """Decoding, neutral and greedy unless said (see :class:`harness.records.Sampling`)."""

    temperature: float = Field(0.0, ge=0, le=10)
    top_k: int = Field(0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    min_p: float = Field(0.0, ge=0, le=1)
    repeat_penalty: float = Field(1.0, gt=0)
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_last_n: int = Field(64, ge=-1)
    logit_bias: Mapping[int, float] = Field(default_factory=dict)
    max_tokens: int = Field(256, ge=1)
    overrun: int = Field(0, ge=0)

    def record(self) -> Sampling:
        """The frozen record that travels with each request."""
        values = self.model_dump()
        values["logit_bias"] = tuple(sorted(self.logit_bias.items()))
        return Sampling(**values)


_ENGINE = EngineSettings()


class RayConfig(_Model):
    """What each actor of a cluster takes (``harness run --ray``), and how many a node has.

    ``send_below``: MiB up to which a model's file is sent to nodes that lack it.
    """

    num_cpus: float = Field(1.0, ge=0, le=4096)
    num_gpus: float = Field(0.0, ge=0, le=256)
    per_node: int = Field(1, ge=1, le=256)
    send_below: int = Field(2048, ge=0)


class EngineConfig(_Model):
    """How the engine runs (see :class:`harness.records.EngineSettings`)."""

    backend: str = LLAMA_CPP
    mode: Literal["exact", "fast"] = "exact"
    width: int = Field(_ENGINE.width, ge=2, le=256)
    parallel: int = Field(_ENGINE.parallel, ge=1, le=256)
    chunk: int = Field(_ENGINE.chunk, ge=16, le=4096)
    n_ctx: int = Field(0, ge=0)
    threads: int = Field(0, ge=0)
    n_gpu_layers: Annotated[int, Field(ge=-1, le=10_000)] | Literal["auto"] = 0
    devices: tuple[str, ...] = ()
    ray: RayConfig = RayConfig()

    @model_validator(mode="after")
    def _fits(self) -> EngineConfig:
        if self.parallel > self.width:
            raise ValueError(
                f"parallel: {self.parallel} busy slots do not fit width {self.width}; "
                "raise engine.width or lower parallel"
            )
        return self

    def settings(self, n_gpu_layers: int) -> EngineSettings:
        """The engine's settings once ``auto`` layers are a number."""
        values = self.model_dump(exclude={"devices", "backend", "ray"})
        return EngineSettings(**{**values, "n_gpu_layers": n_gpu_layers})


class Ends(_Model):
    """Which two stages the recovered share R = (W − B) / (I − B) compares."""

    base: str = "base"
    instruct: str = "instruct"


class Contrast(_Model):
    """A comparison declared beforehand: ``b`` − ``a``, conditions as ``stage/level/strategy``."""

    name: str
    a: str
    b: str

    def conditions(self) -> tuple[Condition, Condition]:
        """The two conditions (``load_experiment`` has checked that each has three parts)."""
        return Condition.named(self.a), Condition.named(self.b)


class Measure(_Model):
    """What is measured of the files beside their answers, where an experiment has levels.

    ``speed``: load time, prefill, decode and memory, in turns. ``tokens``: over so many tokens of
    the reference level's own answers each other level's distributions are compared with its; 0
    for none. ``text`` is a file to compare them over too, in windows of ``window`` tokens.
    ``shift``: over so many tokens of the instruct model's answers each arm of the base is compared
    with it.
    """

    speed: bool = True
    tokens: int = Field(4000, ge=0, le=10_000_000)
    text: str | None = None
    window: int = Field(512, ge=32, le=1 << 20)
    shift: bool = True


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_several)]
"""One name or several."""


class Uses(_Model):
    """What the base and the instruct model are measured at beside the grid: which, for what?

    Each key is an option of ``harness choose``: ``text`` to go on with, gaps (``infill``), a task
    (``examples``), files or what ships. ``limit`` items of each use at most. The suites of the grid
    are instructions: what it has answered is not asked again.
    """

    text: Names = ()
    infill: Names = ()
    examples: str | None = None
    shots: tuple[Annotated[int, Field(ge=0, le=64)], ...] = Field((0, 1, 2, 4, 8, 16), min_length=1)
    draws: int = Field(3, ge=0, le=100)
    spm: bool = False
    wrappers: Names = ("qa", "sys_qa")
    limit: int | None = Field(None, ge=1)
    window: int = Field(1000, ge=80)
    windows: int | None = Field(None, ge=1)


class Experiment(_Model):
    """A whole experiment file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=NAME_LENGTH)
    description: str = ""
    warning: str | None = None
    pair: str | None = None
    stages: Mapping[str, StageEntry] = Field(default_factory=dict)
    levels: tuple[str, ...] | MadeLevels = (AS_IS,)
    strategies: tuple[Entry, ...] | Mapping[str, tuple[Entry, ...]] | None = None
    suites: tuple[str | Mapping[str, str | None], ...] = Field(("starter",), min_length=1)
    controls: tuple[Annotated[Control | Constant, BeforeValidator(_control)], ...] = CONTROLS
    sampling: SamplingConfig = SamplingConfig()
    engine: EngineConfig = EngineConfig()
    seed: int = Field(0, ge=0, lt=2**32)
    epochs: int = Field(1, ge=1, le=1000)
    recovery: Ends | None = None
    contrasts: tuple[Contrast, ...] = ()
    margin: float | None = Field(None, gt=0, lt=100)
    measure: Measure | None = None
    uses: Uses | None = None
    templates: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    code: Annotated[
        Literal["off", "sandboxed", "unsafe"],
        BeforeValidator(lambda value: "off" if value is False else value),  # YAML's plain `off`
    ] = "off"

    early: Literal["check", "prompt"] | None = None
    """End answers where their checks' verdicts, or the item's pass, can no longer change."""

    _origin: str = PrivateAttr("")

    @property
    def origin(self) -> str:
        """The file the experiment was read from, as errors name it; else its name."""
        return self._origin or self.name

    def __eq__(self, other: object) -> bool:
        """Whether the same is asked, wherever it was read from."""
        return isinstance(other, Experiment) and self.model_dump() == other.model_dump()

    @model_validator(mode="after")
    def _coherent(self) -> Experiment:
        for stage in self.stages:
            _nameable(stage, "a stage's name")
            if stage == "control":
                raise ValueError("a stage cannot be called control: reports keep that for controls")
        for level in self.level_names:
            _nameable(level, "a level's name")
        for name, stage_of in self.stages.items():
            pins = stage_of.sha256 if isinstance(stage_of.sha256, Mapping) else {}
            for level in pins:
                if level not in self.level_names:
                    raise ValueError(
                        f"stages.{name}.sha256: {shown(level)} is no level of this experiment, so "
                        f"the pin would never act; {near(level, self.level_names)}levels: "
                        f"{', '.join(self.level_names)}"
                    )
        names = [item.name if isinstance(item, Constant) else item for item in self.controls]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"controls: {shown(twice)} appears twice; name one with `as:`")
        if self.epochs > 1 and self.sampling.temperature == 0:
            raise ValueError(
                f"epochs: {self.epochs} with sampling.temperature 0 asks for the same answer "
                f"{self.epochs} times; set a temperature above 0, or epochs: 1"
            )
        return self

    @property
    def level_names(self) -> tuple[str, ...]:
        """Every level of the grid, the one the others are made from first."""
        levels = self.levels
        return levels.names if isinstance(levels, MadeLevels) else tuple(dict.fromkeys(levels))

    def entries(self, stage: str) -> tuple[StrategyEntry, ...]:
        """The strategies a stage runs, as written or by default."""
        if isinstance(self.strategies, Mapping):
            return tuple(self.strategies.get(stage, ()))
        if self.strategies is not None:
            return self.strategies
        base = (self.recovery or Ends()).base
        names = BASE_STRATEGIES if stage == base else TUNED_STRATEGIES
        return tuple(StrategyEntry(id=name) for name in names)

    def arms(self, stage: str) -> tuple[Arm, ...]:
        """The strategies a stage runs, as the records that prompts are rendered with."""
        return tuple(entry.arm() for entry in self.entries(stage))

    def backend_of(self, stage: str) -> str:
        """The name of the backend that runs a stage."""
        found = self.stages[stage]
        return ENDPOINT if found.endpoint else found.backend or self.engine.backend

    def recovery_pair(self) -> tuple[str, str] | None:
        """The base and instruct stage of the recovered share, None when the stages lack one."""
        wanted = self.recovery or Ends()
        pair = (wanted.base, wanted.instruct)
        return pair if all(name in self.stages for name in pair) else None

    def ends(self) -> tuple[str, str]:
        """The two stages that are put side by side: the recovery's, else the ladder's outermost.

        The second need not be a stage of the experiment, nor another than the first.
        """
        wanted, stages = self.recovery or Ends(), list(self.stages)
        if wanted.base in self.stages:
            return wanted.base, wanted.instruct
        return stages[0], stages[-1]

    def declared_contrasts(self) -> tuple[tuple[str, Condition, Condition], ...]:
        """The contrasts as name and two conditions."""
        return tuple((item.name, *item.conditions()) for item in self.contrasts)


def load_experiment(source: str | Path) -> Experiment:
    """Read an experiment by path or shipped name (``tiny``).

    A path in it is led from the experiment's own folder, then from the working directory, then
    from what ships. Raises ConfigError naming the file, the key and what is accepted.
    """
    path = find_resource("experiments", str(source), ".yaml")
    if path is None:
        known = sorted(p.stem for p in resource_dir("experiments").glob("*.yaml"))
        raise ConfigError(
            f"no experiment {str(source)!r}: no such file, and the shipped ones are: "
            f"{', '.join(known)}{meant(source, known)}"
        )
    data = load_yaml(read_text(path), str(path))
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path}: an experiment is a mapping of keys such as name, stages, suites; "
            f"found {shown(data)}"
        )
    if data.get("pair") and data.get("stages"):
        raise ConfigError(
            f"{path}: it has both pair and stages; a pair brings its own stages: remove one of them"
        )
    return _rooted(parse_experiment(data, str(path)), path.parent.absolute())


def _rooted(experiment: Experiment, folder: Path) -> Experiment:
    """The experiment with every path that leads somewhere from its own folder led from there.

    Any other stays as written: a name, a repository, a file that ships, or a path from the working
    directory.
    """

    def rooted(name: str, *, folders: bool = False) -> str:
        path = Path(name)
        if path.is_absolute() or name.startswith("~"):
            return name
        place = folder / path
        try:
            there = place.is_dir() if folders else place.is_file()
            if "{level}" in name:
                pattern = glob.escape(name).replace("{level}", "*")
                there = next(folder.glob(pattern), None) is not None
        except (OSError, ValueError, IndexError, NotImplementedError):
            return name
        return str(place) if there else name

    def maybe(name: str | None) -> str | None:
        return None if name is None else rooted(name)

    def suite(source: Any) -> Any:
        if isinstance(source, Mapping):
            return {
                key: maybe(value) if key != "sha256" else value for key, value in source.items()
            }
        return rooted(source, folders=source.endswith("/"))  # a bare name may be a shipped suite's

    stages = {
        name: stage.model_copy(
            update={
                "model": stage.model if stage.endpoint else rooted(stage.model),
                "adapter": maybe(stage.adapter),
                "chat_template": maybe(stage.chat_template),
            }
        )
        for name, stage in experiment.stages.items()
    }
    levels: Any = experiment.levels
    if isinstance(levels, MadeLevels):
        levels = levels.model_copy(update={"imatrix": maybe(levels.imatrix)})
    measure = experiment.measure
    if measure is not None:
        measure = measure.model_copy(update={"text": maybe(measure.text)})
    uses = experiment.uses
    if uses is not None:
        lists = {
            key: tuple(rooted(rooted(name), folders=True) for name in getattr(uses, key))
            for key in ("text", "infill")
        }
        uses = uses.model_copy(update={**lists, "examples": maybe(uses.examples)})
    updates: dict[str, Any] = {
        "stages": stages,
        "measure": measure,
        "uses": uses,
        "levels": levels,
        "suites": tuple(suite(source) for source in experiment.suites),
        "templates": tuple(rooted(name, folders=True) for name in experiment.templates),
        "checks": tuple(rooted(name) for name in experiment.checks),
    }
    given = experiment.model_fields_set
    return experiment.model_copy(update={k: v for k, v in updates.items() if k in given})


def parse_experiment(data: Mapping[str, Any], where: str) -> Experiment:
    """Validate a mapping as an experiment; ``where`` names its origin in errors."""
    try:
        experiment = Experiment.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{where}: {_explain(error)}") from error
    experiment._origin = where
    _check_names(experiment, where)
    return experiment


def _check_names(experiment: Experiment, where: str) -> None:
    """Cross-references that a field's own type cannot see."""
    if not experiment.stages:
        # A pair fills them in, the file's or that of ``harness run --pair``; then they are checked.
        return
    stages = sorted(experiment.stages)
    if isinstance(experiment.strategies, Mapping):
        for stage in experiment.strategies:
            _known(where, "strategies", stage, stages)
    if experiment.recovery:
        _known(where, "recovery.base", experiment.recovery.base, stages)
        _known(where, "recovery.instruct", experiment.recovery.instruct, stages)
    for stage in stages:
        labels = [arm.label for arm in experiment.arms(stage)]
        for label in labels:
            if labels.count(label) > 1:
                raise ConfigError(
                    f"{where}: strategies of {stage}: {label!r} appears twice; "
                    "give one another name with `as:`"
                )
    for contrast in experiment.contrasts:
        for text in (contrast.a, contrast.b):
            if text.count("/") != 2:
                raise ConfigError(
                    f"{where}: contrasts ({contrast.name}): a condition is written "
                    f"stage/level/strategy, not {text!r}"
                )
        for side in contrast.conditions():
            _known(where, f"contrasts ({contrast.name})", side.stage, stages)
            _known(where, f"contrasts ({contrast.name})", side.level, experiment.level_names)
            labels = [arm.label for arm in experiment.arms(side.stage)]
            _known(where, f"contrasts ({contrast.name})", side.strategy, labels)


def _known(where: str, key: str, value: str, accepted: Sequence[str]) -> None:
    if value not in accepted:
        raise ConfigError(
            f"{where}: {key}: {shown(value)} is unknown; {near(value, accepted)}"
            f"accepted: {', '.join(accepted) or 'none'}"
        )


def _explain(error: ValidationError) -> str:
    """The first problem of a ValidationError: the key, what was found, what is accepted."""
    # A union reports every branch: the one that got deepest into the file is the one meant.
    # A misspelt key comes before the required key it leaves missing.
    first = max(
        error.errors(include_url=False),
        key=lambda item: (len(item["loc"]), item["type"] == "extra_forbidden"),
    )
    parts = [str(part) for part in first["loc"] if not _is_branch(part)]
    key = ".".join(parts) or "file"
    said = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        # A key of the file may be spelt like a branch (``str``, ``a[``): the last part is the key.
        odd = first["loc"][-1]
        key = key if parts[-1:] == [str(odd)] else ".".join([*parts, str(odd)])
        accepted = _fields_at(first["loc"][:-1])
        said = f"unknown key; {near(odd, accepted)}accepted: {', '.join(accepted)}"
    elif first["type"] == "missing":
        said = "this key is required and missing"
    elif first["type"] == "value_error" and not first["loc"]:
        key = ""  # the message names its keys itself
    elif first["type"] != "value_error":
        said = f"{plainly(said)} (found {shown(first['input'])})"
    return f"{key:.200}: {said}" if key else said


def _is_branch(part: Any) -> bool:
    """Whether a location part is pydantic's name of a union's branch, not a key of the file."""
    return isinstance(part, str) and (
        part in {"MadeLevels", "StrategyEntry", "Constant", "str", "int", "constrained-int"}
        or "[" in part
    )


def _fields_at(location: Sequence[Any]) -> list[str]:
    """The accepted keys of the mapping at a location of the experiment file."""
    nested: dict[str, type[_Model]] = {
        "stages": Stage,
        "levels": MadeLevels,
        "strategies": StrategyEntry,
        "sampling": SamplingConfig,
        "engine": EngineConfig,
        "recovery": Ends,
        "contrasts": Contrast,
        "controls": Constant,
        "measure": Measure,
        "uses": Uses,
    }
    model = nested.get(str(location[0]), Experiment) if location else Experiment
    return [field.alias or name for name, field in model.model_fields.items()]
