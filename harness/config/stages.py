"""The models of an experiment: stages of the ladder, and the levels they run at."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from harness.config.section import Section
from harness.intake import shown

LLAMA_CPP = "llama.cpp"
"""The backend of a stage that names no other."""

ENDPOINT = "endpoint"
"""The backend of a stage that names a server's address."""

WITH_IMATRIX = "+imatrix"
"""Ends the name of a made level that has an importance matrix where another has none."""

AS_IS = "as-is"
"""The level of a stage whose file is used as it is, whatever its quantization."""


_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def _digest(value: str) -> str:
    if not _SHA256.fullmatch(value):
        raise ValueError(f"a sha256 is 64 hexadecimal digits, found {shown(value)}")
    return value.lower()


class Stage(Section):
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


class MadeLevels(Section):
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


def is_url(text: str) -> bool:
    """Whether a stage is named by a server's address."""
    return text.lower().startswith(("http://", "https://"))


def _stage(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return {"endpoint" if is_url(value) else "model": value}


StageEntry = Annotated[Stage, BeforeValidator(_stage)]
