"""A request as a server's API wants it, and its reply as a generation.

Everything that decoding depends on is said: servers have defaults of their own (16 tokens,
temperature 0.8, a repeat penalty of 1.1), and nothing here relies on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from harness.endings import first_stop, is_loop
from harness.endpoint.wire import Fault
from harness.errors import ConfigError
from harness.intake import shown
from harness.records import FinishReason, Generation, Request, Sampling

MOST_STOPS = 4
"""Stop strings that the API takes; an answer is cut at the others when it is here."""

_NEUTRAL = Sampling()
_LLAMA_OFF: Mapping[str, Any] = {
    "typical_p": 1.0,
    "dynatemp_range": 0.0,
    "mirostat": 0,
    "dry_multiplier": 0.0,
    "xtc_probability": 0.0,
    "top_n_sigma": -1.0,
    "ignore_eos": False,
}
"""Samplers that a llama-server may have been started with, and that no request here asks for."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What to send where."""

    route: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """A reply taken apart. ``model`` is who says to have answered; counts are None where untold."""

    text: str
    finish: str
    tokens: tuple[int, ...] = ()
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    model: str = ""
    truncated: bool = False
    stopped: bool = False
    """Whether the server says that a stop string ended it."""


def seed_of(request: Request) -> int:
    """31 bits of its key, so that every epoch draws its own and a repeated request the same."""
    return int(request.key[:8], 16) & 0x7FFFFFFF


def llama_ask(request: Request) -> Ask:
    """A request for llama-server's own completion route: token ids, and nothing added to them."""
    sampling, prompt = request.sampling, request.prompt
    body = {
        **_LLAMA_OFF,
        "prompt": list(prompt.token_ids) or prompt.text,
        "n_predict": sampling.max_tokens,
        "stop": [stop for stop in prompt.stops if stop],
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "repeat_last_n": sampling.penalty_last_n,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": [[token, bias] for token, bias in sampling.logit_bias],
        "seed": seed_of(request),
        "samplers": ["penalties", "top_k", "top_p", "min_p", "temperature"],
        "return_tokens": True,
        "stream": False,
    }
    return Ask("/completion", body)


def openai_ask(request: Request, model: str, *, extras: bool) -> Ask:
    """A request for OpenAI's completion route, or its chat route where it is a conversation.

    ``extras`` are what llama.cpp's and vLLM's servers take beyond OpenAI's own: said even where
    neutral, since their defaults are not.
    """
    sampling, prompt = request.sampling, request.prompt
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": seed_of(request),
        "n": 1,
        "stream": False,
    }
    if stops := [stop for stop in prompt.stops if stop][:MOST_STOPS]:
        body["stop"] = stops
    if sampling.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    if extras:
        body |= extra_fields(sampling)
    if prompt.messages:
        turns = [{"role": turn.role, "content": turn.content} for turn in prompt.messages]
        return Ask("/v1/chat/completions", {**body, "messages": turns})
    return Ask("/v1/completions", {**body, "prompt": prompt.text, "echo": False})


def extra_fields(sampling: Sampling) -> dict[str, Any]:
    """What decoding depends on that OpenAI's API has no name for, in llama.cpp's and vLLM's."""
    return {
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repeat_penalty": sampling.repeat_penalty,
        "repetition_penalty": sampling.repeat_penalty,
    }


def require_sampling(sampling: Sampling, *, where: str, native: bool, extras: bool) -> None:
    """Raise ConfigError for what the server's API has no way to ask for.

    ``native``: llama-server's own API; ``extras``: OpenAI's with the fields of its imitators.
    """
    unasked = {"overrun": "stop strings end an answer at the server"}
    if not native:
        unasked["penalty_last_n"] = "OpenAI's API has no name for it"
    if not (native or extras):
        why = "OpenAI's API has no name for it, and this server takes no other"
        unasked |= dict.fromkeys(("top_k", "min_p", "repeat_penalty"), why)
    for name, why in unasked.items():
        value = getattr(sampling, name)
        if value != getattr(_NEUTRAL, name):
            raise ConfigError(
                f"{where}: sampling.{name}: {value} cannot be asked of it: {why}; leave it out"
            )
    for token, bias in sampling.logit_bias:
        if not native and not -100 <= bias <= 100:
            raise ConfigError(
                f"{where}: sampling.logit_bias: {token}: {bias} is outside the -100 to 100 that "
                "OpenAI's API takes"
            )


def llama_said(value: Any) -> Said:
    """The reply of llama-server's completion route. Raises Fault for one that is none."""
    reply = _mapping(value, "a completion")
    if not isinstance(reply.get("content"), str):
        raise Fault("garbled", f"the reply has no text in `content`: {shown(value, 120)}")
    limit = "limit" in (reply.get("stop_type"), reply.get("stopped_limit") and "limit")
    return Said(
        text=reply["content"],
        finish="length" if limit else "stop",
        tokens=_ids(reply.get("tokens")),
        prompt_tokens=_count(reply.get("tokens_evaluated")),
        completion_tokens=_count(reply.get("tokens_predicted")),
        truncated=reply.get("truncated") is True,
        stopped=reply.get("stop_type") == "word",
    )


def openai_said(value: Any) -> Said:
    """The reply of OpenAI's completion or chat route. Raises Fault for one that is none."""
    reply = _mapping(value, "a completion")
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Fault("garbled", f"the reply has no `choices`: {shown(value, 160)}")
    if len(choices) > 1:
        raise Fault("garbled", f"one answer was asked for, the reply holds {len(choices)}")
    choice = choices[0]
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    if text is None and isinstance(message, dict):
        text = ""  # a turn of nothing but reasoning or tool calls
    if not isinstance(text, str):
        raise Fault("garbled", f"the reply's choice holds no text: {shown(choice, 120)}")
    usage = reply.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return Said(
        text=text,
        finish=str(choice.get("finish_reason") or ""),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        model=reply["model"] if isinstance(reply.get("model"), str) else "",
        stopped=isinstance(choice.get("stop_reason"), str),
    )


def generation(request: Request, said: Said, seconds: float) -> Generation:
    """The reply as this request's generation; Fault for one that cannot stand for an answer."""
    prompt, limit = request.prompt, request.sampling.max_tokens
    if said.finish not in {"stop", "length", "eos", "stop_sequence", ""}:
        raise Fault("refused", f"the server ended the answer for {shown(said.finish)}")
    counted = said.completion_tokens
    if said.finish == "length" and counted is not None and 0 < counted < limit:
        raise Fault(
            "refused",
            f"the server ended the answer at {counted} of {limit} tokens: it has a limit of its "
            "own, or its context is full",
        )
    if counted is not None and counted > limit + 8:
        raise Fault("refused", f"{limit} tokens were asked for, the server made {counted}")
    data = said.text.encode("utf-8", "surrogatepass")
    line_start = not prompt.prefill or prompt.prefill.endswith("\n")
    cut = first_stop(data, prompt.stops, line_start=line_start)
    answer = said.text if cut is None else data[:cut].decode("utf-8", "surrogatepass")
    return Generation(
        request_key=request.key,
        text=said.text,
        answer=answer,
        token_ids=said.tokens,
        finish_reason=_reason(said, cut is not None, bool(prompt.stops)),
        prompt_tokens=said.prompt_tokens or 0,
        completion_tokens=counted or len(said.tokens),
        seconds=seconds,
    )


def failed(request: Request, why: str) -> Generation:
    """The record of a request that got no answer: it is not stored, and asked again next time."""
    return Generation(request.key, "", "", (), "failed", 0, 0, error=why)


def _reason(said: Said, cut: bool, stops: bool) -> FinishReason:
    if cut or said.stopped:
        return "stop"
    if said.finish == "length":
        return "loop" if is_loop(said.tokens) else "length"
    # OpenAI's API calls the end of the turn and a stop string by one name.
    return "stop" if stops and said.finish == "stop" and not said.tokens else "eos"


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Fault("garbled", f"wanted {what}, the reply is {shown(value, 120)}")
    return value


def _count(value: Any) -> int | None:
    """A number of tokens, None for anything else."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31
    return value if known else None


def _ids(value: Any) -> tuple[int, ...]:
    """Token ids, none where the reply holds no list of them."""
    ids = [_count(token) for token in value] if isinstance(value, list) else []
    return tuple(token for token in ids if token is not None)


def again(request: Request, max_tokens: int) -> Request:
    """The same request with another limit: to learn what a server counts, not what it says."""
    return replace(request, sampling=replace(request.sampling, max_tokens=max_tokens))
