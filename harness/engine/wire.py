"""Frames between the harness and its child process: a length, then one JSON value.

JSON and not pickle: the child opens untrusted files, and unpickling would let whoever took it
over run code in the parent.
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, BinaryIO

from harness.engine.sequence import Job, Sequence
from harness.records import LogitRules, Sampling

_LENGTH = struct.Struct("<I")


def send(stream: BinaryIO, value: Any) -> None:
    """Write one value; raises OSError (BrokenPipeError) when the other side is gone."""
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one value; raises EOFError when the other side is gone."""
    (length,) = _LENGTH.unpack(_read_exactly(stream, _LENGTH.size))
    return json.loads(_read_exactly(stream, length))


def job_to_json(job: Job) -> dict[str, Any]:
    """A job as JSON."""
    return {
        "key": job.key,
        "tokens": list(job.tokens),
        "sampling": asdict(job.sampling),
        "seed": job.seed,
        "stops": list(job.stops),
        "line_start": job.line_start,
        "rules": asdict(job.rules) if job.rules else None,
        "stream": job.stream,
        "early": job.early,
    }


def job_from_json(entry: Mapping[str, Any]) -> Job:
    """The inverse of :func:`job_to_json`."""
    sampling = dict(entry["sampling"])
    sampling["logit_bias"] = tuple((int(t), float(b)) for t, b in sampling["logit_bias"])
    rules = entry["rules"]
    if rules is not None:
        openers = tuple((int(token), float(bias)) for token, bias in rules["openers"])
        rules = LogitRules(**{**rules, "openers": openers})
    return Job(
        key=entry["key"],
        tokens=tuple(entry["tokens"]),
        sampling=Sampling(**sampling),
        seed=entry["seed"],
        stops=tuple(entry["stops"]),
        line_start=entry["line_start"],
        rules=rules,
        stream=entry["stream"],
        early=entry["early"],
    )


def sequence_to_json(sequence: Sequence) -> dict[str, Any]:
    """What the parent makes a Generation of; bytes that are no UTF-8 become U+FFFD here."""
    return {
        "key": sequence.job.key,
        "text": bytes(sequence.text).decode("utf-8", "replace"),
        "answer": sequence.answer().decode("utf-8", "replace"),
        "tokens": sequence.tokens,
        "finish": sequence.finish,
        "error": sequence.error,
        "prompt_tokens": len(sequence.job.tokens),
        "seconds": time.monotonic() - sequence.started,
    }


def _read_exactly(stream: BinaryIO, size: int) -> bytes:
    parts = []
    while size:
        part = stream.read(size)
        if not part:
            raise EOFError("the other side of the pipe is gone")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
