"""What a loaded model takes: requests become jobs once all of them are known to fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.engine.rerank import judge_sizes
from harness.engine.sampling import derive_seed
from harness.engine.sequence import Job
from harness.errors import ContextOverflow, EngineError
from harness.protocols import Tokenizer
from harness.records import Passage, Request


class Admission:
    """The bounds of one loaded model. ``n_ctx`` is the context asked for, 0 for the model's own.

    ``loaded`` is what the child said of the model, ``model`` its name in errors.
    """

    def __init__(
        self, model: str, n_ctx: int, loaded: Mapping[str, Any], tokenizer: Tokenizer
    ) -> None:
        self._model, self._n_ctx, self._loaded, self._tokenizer = model, n_ctx, loaded, tokenizer

    def jobs(self, requests: Sequence[Request], *, stream: bool) -> list[Job]:
        """What the child is asked, in the requests' order, once all of it is known to fit."""
        jobs = [self._job(request, stream=stream) for request in requests]
        for request, job in zip(requests, jobs, strict=True):
            self._require_room(request, job)
        judged = [
            (request, job.room - len(job.tokens), request.prompt.rerank)
            for request, job in zip(requests, jobs, strict=True)
            if request.prompt.rerank is not None
        ]
        for (request, answer, _), size in zip(
            judged, judge_sizes([rerank for *_, rerank in judged], self._tokenizer), strict=True
        ):
            self._require_fit(request, size, answer, "tokens of the judge's prompt")
        return jobs

    def require_scorable(self, texts: Sequence[Passage]) -> None:
        """Raise ContextOverflow or EngineError for the first text that cannot be scored."""
        limit = self._n_ctx or int(self._loaded["n_ctx_train"])
        for number, text in enumerate(texts):
            if len(text.tokens) > limit:
                raise ContextOverflow(
                    f"text {number} has {len(text.tokens)} tokens, the context holds {limit}; "
                    "shorten it or raise engine.n_ctx"
                )
            if not 1 <= text.start < len(text.tokens):
                raise EngineError(
                    f"text {number} of {len(text.tokens)} tokens cannot be scored from token "
                    f"{text.start}; at least one token must stand before and one after"
                )

    def _job(self, request: Request, *, stream: bool) -> Job:
        prompt, sampling = request.prompt, request.sampling
        tokens = prompt.token_ids
        if not tokens:
            bos = self._tokenizer.bos_id
            if bos is None:
                raise EngineError(
                    f"sample {request.sample_id} has an empty prompt and the model has no BOS "
                    "token to begin with; give the prompt some text"
                )
            tokens = (bos,)
        return Job(
            key=request.key,
            tokens=tokens,
            sampling=sampling,
            seed=derive_seed(request.seed, request.epoch, tokens),
            stops=prompt.stops,
            line_start=not prompt.prefill or prompt.prefill.endswith("\n"),
            rules=prompt.rules,
            stream=stream,
        )

    def _require_fit(self, request: Request, given: int, generated: int, what: str) -> None:
        trained = int(self._loaded["n_ctx_train"])
        limit = self._n_ctx or trained
        if given + generated > limit:
            more = f", or raise engine.n_ctx (the model knows {trained})" if limit < trained else ""
            raise ContextOverflow(
                f"sample {request.sample_id} ({request.condition}) needs {given} {what} "
                f"+ {generated} generated tokens, the context holds {limit}; "
                f"shorten the prompt or lower sampling.max_tokens{more}"
            )

    def _require_room(self, request: Request, job: Job) -> None:
        self._require_fit(request, len(job.tokens), job.room - len(job.tokens), "prompt")
        worst = max(job.tokens)
        if min(job.tokens) < 0 or worst >= self._loaded["n_vocab"]:
            raise EngineError(
                f"sample {request.sample_id} holds token {worst}, the model's vocabulary ends at "
                f"{self._loaded['n_vocab'] - 1}; the prompt was tokenized for another model"
            )
        for token, _ in request.sampling.logit_bias:
            if not 0 <= token < self._loaded["n_vocab"]:
                raise EngineError(
                    f"sampling.logit_bias: {token} is no token of {self._model}, whose "
                    f"vocabulary ends at {self._loaded['n_vocab'] - 1}"
                )
