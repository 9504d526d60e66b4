"""The values that travel: frozen records, no I/O.

A :class:`Sample` is wrapped into a :class:`RenderedPrompt`, planned as a :class:`Request`,
answered by a :class:`Generation` and judged into :class:`CheckResult` rows; statistics come
out as :class:`Estimate` and :class:`Comparison`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, NamedTuple

from harness.hashing import tagged_hash

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["eos", "stop", "length", "loop", "decided", "failed"]
"""Why an answer ended; ``decided``: it was cut where its verdicts could no longer change."""

Mode = Literal["exact", "fast", "remote"]
"""How far answers depend on the load: not at all, by rounding, or on what a server does."""

Span = tuple[int, int]
"""A place in a text: first character, and the one behind the last."""

CONTROL_STAGE = "control"
"""Stage name of the responders that ask no model (empty, yes, paragraph, echo, loop)."""

ABLATED = " (ablated)"
"""Ends the name of an arm that asks each item without its instruction."""

OPENING_REMOVED = " (opening removed)"
"""Ends the name of another arm's answers judged without the opening that was given to them."""


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class CheckSpec:
    """One verifiable instruction: a check's id and the arguments it is judged with."""

    id: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def written(cls, item: Mapping[str, Any]) -> CheckSpec:
        """A check as a suite writes it, alone or inside another one.

        ``{"not": c}`` is short for ``{"id": "not", "kwargs": {"check": c}}``, ``{"any": [..]}``
        and ``{"all": [..]}`` likewise. Raises ValueError when none of them is there, or several.
        """
        forms = [name for name in ("id", "not", "any", "all") if name in item]
        if len(forms) != 1:
            found = " and ".join(forms) or ", ".join(map(str, item)) or "nothing"
            raise ValueError(f"a check is one of id, not, any, all; found {found}")
        form = forms[0]
        extra = sorted(set(map(str, item)) - ({"id", "kwargs"} if form == "id" else {form}))
        if extra:
            raise ValueError(f"a check with {form} has no {extra[0]!r}")
        if form != "id":
            return cls(form, {"check" if form == "not" else "checks": item[form]})
        given = item.get("kwargs", {})
        if not isinstance(item["id"], str) or not isinstance(given, Mapping):
            raise ValueError("a check's id is a text and its kwargs are an object")
        return cls(item["id"], plain_arguments(given))


def plain_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """A check's arguments without nulls, whole numbers as integers.

    The published files fill every argument a type does not take with null, and write 3 as 3.0.
    """
    return {
        name: int(value) if isinstance(value, float) and value.is_integer() else value
        for name, value in given.items()
        if value is not None
    }


@dataclass(frozen=True, slots=True)
class Sample:
    """One item of a suite.

    ``messages`` ends with the user turn to answer (earlier turns and a system message may stand
    before it). A ``continuation`` item is a text to go on with, not a question. A suite row's
    ``target`` (accepted answers) is here already as a check with id ``target``. ``needs`` names
    what an arm must offer (``system``, ``multi_turn``); ``group`` joins paraphrases of one item;
    ``ablated`` is the last user turn without its instruction (None: nobody marked it);
    ``metadata`` is the author's own and changes nothing; ``max_tokens`` is the item's own budget
    (None: the experiment's).
    """

    id: str
    messages: tuple[Message, ...]
    checks: tuple[CheckSpec, ...]
    target: tuple[str, ...] = ()
    kind: Literal["instruction", "continuation", "fim"] = "instruction"
    category: str = "uncategorised"
    tags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    group: str | None = None
    suite: str = ""
    ablated: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    max_tokens: int | None = None

    @property
    def query(self) -> str:
        """The last user turn's text."""
        return self.messages[-1].content


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A GGUF file whose header was read and whose bytes were digested.

    ``bits_per_weight`` is 8 × tensor bytes / elements over every tensor; ``tensor_types`` counts
    elements per GGML type; ``tokenizer_digest`` covers tokens, types, scores and merges;
    ``special`` maps a role (``bos eos eot fim_pre fim_suf fim_mid``) to its token's text. Of a
    model that is no file here (:meth:`named`) ``path`` is its name and what a header says unknown.
    """

    path: Path
    sha256: str
    size: int
    architecture: str
    parameters: int
    context_length: int
    tokenizer_digest: str
    chat_template: str | None
    bits_per_weight: float | None
    tensor_types: Mapping[str, int]
    special: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    level: str = ""
    source: str = ""

    @classmethod
    def named(cls, name: str, identity: str) -> ModelFile:
        """A model that a backend knows by name; ``identity`` is all that tells it from others."""
        digest = tagged_hash("model", [name, identity])
        return cls(Path(name), digest, 0, "", 0, 0, "", None, None, {})


@dataclass(frozen=True, slots=True)
class Adapter:
    """A GGUF LoRA adapter and the scale it is applied with."""

    path: Path
    sha256: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class LogitRules:
    """Fixed logit rules (Hewitt et al. 2024): EOS bias rising with length, used tokens, openers.

    ``eos_slope`` is added to every end-of-generation logit per generated token up to ``eos_cap``;
    ``used_penalty`` is subtracted from the logit of every token already generated;
    ``openers`` are ``(token id, bias)`` pairs applied to the first ``opener_tokens`` steps.
    """

    eos_slope: float = 0.0
    eos_cap: float = 0.0
    used_penalty: float = 0.0
    openers: tuple[tuple[int, float], ...] = ()
    opener_tokens: int = 1


@dataclass(frozen=True, slots=True)
class Rerank:
    """Draw ``n`` answers, let the model itself judge each, keep the best (RAIN-like).

    ``judge`` is a prompt text with ``{answer}`` in it; the score of an answer is
    log p(``yes``) - log p(``no``) after it. Cost: about ``n`` times the tokens.
    """

    n: int
    judge: str
    yes: str = " Yes"
    no: str = " No"
    temperature: float = 0.7


@dataclass(frozen=True, slots=True)
class Sampling:
    """Decoding parameters, neutral by default; temperature 0 is greedy.

    ``max_tokens`` is the generation limit; ``overrun`` is how many tokens to go on after a stop
    string so that run-on can be measured.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalty_last_n: int = 64
    logit_bias: tuple[tuple[int, float], ...] = ()
    max_tokens: int = 256
    overrun: int = 0


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """Exactly what the model sees, with its contract.

    ``text`` is the full prompt including ``prefill`` (the opening of the answer, if any);
    ``stops`` are stop strings (a leading newline anchors one at a line start);
    ``special_tokens`` lists control-token texts found in the prompt, in order;
    ``notes`` says what the renderer had to do (``system folded into the user turn``).
    ``messages`` is the conversation where a server writes the prompt and does not show it: ``text``
    is then that conversation as JSON.
    """

    text: str
    token_ids: tuple[int, ...]
    stops: tuple[str, ...]
    bos_count: int
    special_tokens: tuple[str, ...]
    template_sha256: str
    prefill: str = ""
    notes: tuple[str, ...] = ()
    rules: LogitRules | None = None
    rerank: Rerank | None = None
    messages: tuple[Message, ...] = ()


class Cell(NamedTuple):
    """A model file's place in the grid: stage × quantization level, ``stage/level`` in words."""

    stage: str
    level: str

    @classmethod
    def named(cls, text: str) -> Cell:
        """The cell that is written so; what a text does not name is empty."""
        stage, _, level = text.partition("/")
        return cls(stage, level)

    def __str__(self) -> str:
        return f"{self.stage}/{self.level}"


@dataclass(frozen=True, slots=True, order=True)
class Condition:
    """One cell of the grid: model stage × quantization level × strategy."""

    stage: str
    level: str
    strategy: str

    @property
    def is_ablated(self) -> bool:
        """Whether the arm asks without the instruction: a control, never a wrapper."""
        return self.strategy.endswith(ABLATED)

    @property
    def is_strategy(self) -> bool:
        """Whether it is a way to ask the items as they are: no ablation, no re-judged view."""
        return not self.strategy.endswith((ABLATED, OPENING_REMOVED))

    @classmethod
    def named(cls, text: str) -> Condition:
        """The condition that is written so; what a text does not name is empty."""
        stage, _, rest = text.partition("/")
        level, _, strategy = rest.partition("/")
        return cls(stage, level, strategy)

    @property
    def cell(self) -> Cell:
        """The model file it asks."""
        return Cell(self.stage, self.level)

    def __str__(self) -> str:
        return f"{self.cell}/{self.strategy}"


@dataclass(frozen=True, slots=True)
class Arm:
    """A strategy as an experiment uses it: a template plus what composes with any template.

    ``strategy`` is the template's id, ``label`` the name in reports (the id unless given).
    ``system`` replaces the template's system part, ``persona`` is put in front of it, ``prefill``
    opens the answer; ``variables`` fill what the template says it needs. ``ablated`` asks each
    item's ablated text in place of its last turn, and is judged by the item's checks all the same.
    """

    strategy: str
    label: str
    system: str | None = None
    persona: str | None = None
    prefill: str | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    ablated: bool = False


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How to run the engine.

    ``width`` is the rows of every decode in exact mode, ``parallel`` how many of them may hold
    work, ``chunk`` the prefill chunk in tokens: chunks end at multiples of it, and exact mode
    shares prefixes in whole ones (64 prefills as fast as 256 on a CPU, and shares more).
    ``n_ctx`` are the tokens per sequence (0: what the requests need), ``threads`` 0: physical
    cores, ``n_gpu_layers`` -1: all. Of a server (mode ``remote``) only ``parallel``, the requests
    under way at once, and ``n_ctx`` are known.
    """

    mode: Mode = "exact"
    width: int = 16
    parallel: int = 16
    chunk: int = 64
    n_ctx: int = 0
    threads: int = 0
    n_gpu_layers: int = 0
    adapter: Adapter | None = None


@dataclass(frozen=True, slots=True)
class EngineIdentity:
    """Everything about the engine that could change a token; part of every request's key."""

    mode: Mode
    width: int
    chunk: int
    llama_build: str
    backend: str
    cpu_features: str
    n_gpu_layers: int
    adapter_sha256: str = ""
    adapter_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt to be answered once. ``key`` is :func:`request_key` of everything that matters.

    ``early`` says by which checks its answer may be cut, empty where it is generated whole.
    """

    key: str
    sample_id: str
    condition: Condition
    model_sha256: str
    prompt: RenderedPrompt
    sampling: Sampling
    seed: int = 0
    epoch: int = 0
    early: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """What one request produced.

    ``text`` is everything that was generated (with the overrun, if any), ``answer`` the view cut
    at the first stop string. ``finish_reason`` is why the *answer* ended. ``prompt_tokens`` and
    ``completion_tokens`` count tokens (for a reranked answer: of all candidates); ``seconds`` is
    wall time from admission to the last token. ``error`` holds the child's last words when
    ``finish_reason`` is ``failed``.
    """

    request_key: str
    text: str
    answer: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    seconds: float = 0.0
    error: str | None = None

    @property
    def tokens(self) -> int:
        """What it cost: prompt and answer."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Passage:
    """A text to score: its tokens, and the position of the first one that counts (at least 1).

    Tokens before ``start`` are context; ``tokens[0]`` has nothing before it and no probability.
    """

    tokens: tuple[int, ...]
    start: int = 1


@dataclass(frozen=True, slots=True)
class TokenScores:
    """One number per scored token, in order: ``tokens[start:]`` of text number ``index``.

    ``logprobs`` are natural logarithms; ``ranks`` count the tokens the model liked better (0: its
    own first choice); ``entropies`` are of the whole distribution, in nats; ``tops`` are the
    model's first choices and ``margins`` how far, in logits, the second lies behind.
    """

    index: int
    logprobs: tuple[float, ...]
    ranks: tuple[int, ...]
    entropies: tuple[float, ...]
    tops: tuple[int, ...]
    margins: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """One instruction's verdict on one generation; ``None`` means the check is unsupported.

    ``spans`` are the places in the judged text (the opening that was given, then the answer) that
    decided it, where the check can say them. ``source`` begins the sha256 of the file that a user's
    own check is written in; empty for a check of the harness.
    """

    request_key: str
    index: int
    check_id: str
    version: int
    strict: bool | None
    loose: bool | None
    reason: str
    spans: tuple[Span, ...] = ()
    source: str = ""


def all_pass(results: Iterable[CheckResult]) -> bool | None:
    """Whether every supported check passes, None where none is supported."""
    verdicts = [result.strict for result in results if result.strict is not None]
    return all(verdicts) if verdicts else None


def all_loose(results: Iterable[CheckResult]) -> bool | None:
    """The loose reading of :func:`all_pass`; None also where a cut answer leaves it open."""
    judged = [result for result in results if result.strict is not None]
    if not judged or any(result.loose is None for result in judged):
        return None
    return all(result.loose for result in judged)


@dataclass(frozen=True, slots=True)
class Views:
    """Whether an answer passes every check in its other readings; None: not judged in it.

    ``first_turn`` ends before another speaker's turn, ``untrimmed`` does not end at a stop string.
    """

    first_turn: bool | None = None
    untrimmed: bool | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer and what became of it: the unit every analysis reads, a row of a run's folder.

    ``prompt`` is exactly what the model saw, ``prefill`` the opening of the answer that was given
    to it. Where no model was asked (controls, items an arm cannot express, answers that somebody
    else generated) ``key``, ``prompt`` and the digests are empty. ``earlier`` holds verdicts that a
    later judging replaced, the latest first.
    """

    sample: Sample
    condition: Condition
    generation: Generation
    epoch: int = 0
    key: str = ""
    prompt: str = ""
    prefill: str = ""
    stops: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    template_sha256: str = ""
    model_sha256: str = ""
    results: tuple[CheckResult, ...] = ()
    health: Mapping[str, float] = field(default_factory=dict)
    views: Views = Views()
    earlier: tuple[CheckResult, ...] = ()

    @property
    def response(self) -> str:
        """What is judged: the opening that was given, and the stop-trimmed answer."""
        return self.prefill + self.generation.answer

    @property
    def passed(self) -> bool | None:
        """Whether every supported check passes; None for a missing or unjudged answer."""
        if self.generation.finish_reason == "failed":
            return None
        return all_pass(self.results)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its uncertainty; ``value`` is None when it is not estimable (see ``note``)."""

    value: float | None
    low: float | None
    high: float | None
    level: float
    method: str
    n: int
    n_missing: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A paired contrast: ``delta`` is b − a over the same samples."""

    contrast: str
    a: Condition
    b: Condition
    delta: Estimate
    p: float
    adjusted_p: float
    wins: int
    losses: int
    ties: int


Verdict = Literal[
    "shown", "shown not", "cannot tell", "equivalent", "worse", "pass", "regress", "inconclusive"
]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a user may act on: a verdict in one plain sentence, its evidence, what would settle it.

    ``topic`` is what it decides (``recovery``, ``wrapper``, ``level``, ``gate``, ``use``),
    ``subject`` what about (a condition, a level, a suite; may be empty). ``sentence``,
    ``evidence`` and ``settle`` are plain text: each presentation escapes them its own way and
    says the same words. ``settle`` is empty where nothing is open.
    """

    topic: str
    subject: str
    verdict: Verdict
    sentence: str
    evidence: tuple[str, ...] = ()
    settle: str = ""


@dataclass(frozen=True, slots=True)
class RunManifest:
    """All that could change a number: config, hashes, versions, device, engine; JSON-ready.

    ``warnings`` are what a reader must know before any figure; ``command`` made the run;
    ``sources`` are the templates' texts; ``checks`` the versions of the checks, ``plugins`` the
    digests of the user's own modules of them; ``declared`` is when the contrasts were stored:
    ``before the run`` (before any answer they compare) or only ``in the file``; ``uses`` are the
    sha256 of the texts, gaps and examples beside the grid.
    """

    experiment: Mapping[str, Any]
    models: Mapping[str, Any]
    templates: Mapping[str, str]
    suites: Mapping[str, str]
    versions: Mapping[str, str]
    engine: Mapping[str, Any]
    system: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    command: str = ""
    sources: Mapping[str, str] = field(default_factory=dict)
    checks: Mapping[str, int] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    declared: str = ""
    uses: Mapping[str, str] = field(default_factory=dict)


def request_key(
    *,
    prompt: RenderedPrompt,
    model_sha256: str,
    sampling: Sampling,
    seed: int,
    epoch: int,
    engine: EngineIdentity,
    early: str = "",
) -> str:
    """The tagged hash of everything that could change the answer's tokens.

    ``early`` says by which checks the answer may be cut (empty: it is generated whole).

    A greedy request's seed does not enter: it cannot change anything. The prompt enters by its
    token ids, stop strings, logit rules and reranking; by its text only where the backend has no
    tokenizer to ask.
    """
    drawn = sampling.temperature > 0 or prompt.rerank is not None
    return tagged_hash(
        "request",
        {
            "token_ids": list(prompt.token_ids),
            "stops": list(prompt.stops),
            "rules": asdict(prompt.rules) if prompt.rules else None,
            "rerank": asdict(prompt.rerank) if prompt.rerank else None,
            "model": model_sha256,
            "sampling": _values(sampling),
            "seed": seed if drawn else None,
            "epoch": epoch,
            "engine": _values(engine),
            **({"early": early} if early else {}),
            # A backend that tells nobody its tokens is asked in plain text.
            **({} if prompt.token_ids or not prompt.text else {"text": prompt.text}),
            **({"route": "chat"} if prompt.messages else {}),
        },
    )


def passage_key(passage: Passage, *, model_sha256: str, engine: EngineIdentity) -> str:
    """The tagged hash of everything that could change the scores of a given text."""
    return tagged_hash(
        "passage",
        {
            "token_ids": list(passage.tokens),
            "start": passage.start,
            "model": model_sha256,
            "engine": _values(engine),
        },
    )


def _values(record: Sampling | EngineIdentity) -> dict[str, Any]:
    """The fields of a flat record; ``asdict`` copies deep and takes ten times as long."""
    return {entry.name: getattr(record, entry.name) for entry in fields(record)}
