"""What leaves the machine in a report names neither its user nor a secret."""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

REMOVED = "[removed]"

# Only keys that name a credential: prompt_tokens, max_tokens, bos_token and tokenizer are data.
_SECRET_KEY = re.compile(
    r"(?i)^(.*[_.-])?((hf|hub|access|auth|api|bearer|refresh|session|github|gh|gitlab|pypi|npm)"
    r"[_.-]?tokens?|token|secret|client[_.-]?secret|passwd|password|passphrase|api[_.-]?key"
    r"|private[_.-]?key|access[_.-]?key|credentials?|authorization|cookies?)$"
)
_MODEL_TOKEN_KEY = re.compile(r"(?i)(^|[_.-])(bos|eos|eot|eog|pad|unk|sep|cls|mask|fim)[_.-]")
_SECRET_TEXT = re.compile(
    r"\bhf_[A-Za-z0-9]{16,}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}\b|\bgithub_pat_\w{20,}\b"
    r"|\bglpat-[\w-]{16,}|\bpypi-[\w-]{16,}|\bnpm_[A-Za-z0-9]{20,}\b"
    r"|\bsk-[\w-]{16,}|\bxox[abprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{4,}"
    r"|(?i:\bbearer\s+[\w.~+/-]{12,}=*)"
    r"|(?i:(?<=token=)[^\s&\"']+|(?<=password=)[^\s&\"']+|(?<=api_key=)[^\s&\"']+)"
)
_USERINFO = re.compile(r"(?<=://)[^/\s@]+@")
_ANY_HOME = re.compile(
    r"(?<![\w.~])(?:/home/|/Users/|/var/home/)[^/\s\"':;,]+"
    r"|(?<![\w.~])/root(?=$|[/\s\"':;,])"
    r"|(?i:\b[A-Z]:[\\/]+Users[\\/]+)[^\\/\s\"':;,]+"
)


def scrub(value: Any) -> Any:
    """A JSON-ready copy without home folders (``~``) and without anything that looks like a secret.

    Entries whose key names a credential are dropped; secrets inside texts are replaced. Records
    become mappings, paths texts, tuples lists.
    """
    if isinstance(value, Mapping):
        return {
            scrub_text(str(key)): scrub(item)
            for key, item in value.items()
            if not _names_a_secret(str(key), item)
        }
    if is_dataclass(value) and not isinstance(value, type):
        return scrub({field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, (list, tuple, set, frozenset)):
        items = sorted(value, key=str) if isinstance(value, (set, frozenset)) else value
        return [scrub(item) for item in items]
    if isinstance(value, os.PathLike):
        return scrub_text(os.fspath(value))
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return scrub_text(str(value))


def scrub_text(text: str) -> str:
    """A text with home folders as ``~`` and secrets replaced."""
    text = _SECRET_TEXT.sub(REMOVED, _USERINFO.sub(f"{REMOVED}@", text))
    for home in _homes():
        text = re.sub(re.escape(home) + r"(?=$|[\\/\s\"':;,])", "~", text)
    return _ANY_HOME.sub("~", text)


def _names_a_secret(key: str, value: Any) -> bool:
    """Whether an entry holds a credential; a number never does."""
    if value is None or isinstance(value, (bool, int, float)):
        return False
    return bool(_SECRET_KEY.match(key)) and not _MODEL_TOKEN_KEY.search(key)


def _homes() -> list[str]:
    """This user's home folders, the longest first; never the root of a file system."""
    return _homes_among(os.environ.get("HOME", ""), os.environ.get("USERPROFILE", ""))


@lru_cache(maxsize=8)
def _homes_among(*given: str) -> list[str]:
    found = set(given)
    with contextlib.suppress(RuntimeError):  # no home at all: nothing to hide
        found.add(str(Path.home()))
    kept = {home.rstrip("\\/") for home in found}
    return sorted((home for home in kept if len(home) > 1), key=lambda home: (-len(home), home))
