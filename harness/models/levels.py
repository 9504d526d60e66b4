"""Quantization levels: the file of one among a publisher's names, and whether a file is of it.

A name is a promise; what a level is, the file's header and tensors say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from harness.errors import ModelInvalid, ModelNotFound
from harness.models.ggml import LEVELS
from harness.models.shards import shard_names, unsharded
from harness.records import ModelFile

_ALIASES = {"FP16": "F16", "FLOAT16": "F16", "FP32": "F32", "FLOAT32": "F32", "BFLOAT16": "BF16"}
_SPELLINGS = {
    "F16": ("F16", "FP16", "FLOAT16"),
    "F32": ("F32", "FP32", "FLOAT32"),
    "BF16": ("BF16", "BFLOAT16"),
}
_VARIANTS = ("I1-", "UD-")
_NO_MODEL = re.compile(
    r"(^|[-._/])(mmproj|imatrix|lora|adapter|projector)([-._/]|$)", re.IGNORECASE
)


def canonical_level(level: str) -> str:
    """A level's usual spelling: ``q4_k_m`` -> ``Q4_K_M``, ``fp16`` -> ``F16``."""
    upper = level.strip().upper()
    return _ALIASES.get(upper, upper)


_FALLBACKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""What llama.cpp stores a type in where rows are no multiple of 256.

Smaller K types go to Q4_0 (by an older llama.cpp to IQ4_NL), smaller IQ types to IQ4_NL:
``tensor_type_fallback`` in llama-quant.cpp.
"""

_SHORT = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}
"""Names that llama-quantize takes for another."""

_MAIN = {
    "MXFP4_MOE": ("MXFP4", "Q8_0"),
    "IQ2_M": ("IQ2_S",),
    "IQ3_M": ("IQ3_S",),
    "IQ3_XS": ("IQ3_XXS", "IQ3_S"),
}
"""Types that make a level what it is, where its name does not say."""


def require_level(model: ModelFile, asked: str, *, where: str = "", fixed: bool = False) -> str:
    """Refuse a file that is not of the level it was asked for; a note when only its name says so.

    llama.cpp's own levels are compared with the header's ``general.file_type`` and with the
    tensors. A publisher's label that llama.cpp does not know (``UD-Q4_K_XL``, ``i1-...``) is taken
    as the name of a mix: the note shows its tensors. ``fixed`` says that one file stands for every
    level. Raises ModelInvalid naming the label and what was found.
    """
    wanted = canonical_level(asked)
    plain = wanted
    for variant in _VARIANTS:
        plain = plain.removeprefix(variant)
    plain = _SHORT.get(plain, plain)
    held = shown_tensors(model)
    name = where or model.path.name
    if plain not in LEVELS:
        return f"{name}: {asked} is its publisher's own name for a mix of tensors: {held}"
    declared = model.level
    if declared.startswith("~"):
        fits = declared[1:] in main_types(plain)
        said = "its header declares no level"
    else:
        fits = declared == plain and consistent(model, plain)
        said = f"its header says {declared}"
    if fits:
        return "" if wanted == plain else f"{name}: {asked} holds {held}"
    if wanted != plain and consistent(model, declared):
        return f"{name}: {asked} is its publisher's own name for a mix of tensors: {held}"
    cure = (
        "one file has one level: put {level} into its name, or make levels of it with "
        "`levels: {from: ..., make: [...]}`"
        if fixed
        else f"ask for {declared.lstrip('~')}, or give a file of {asked}"
    )
    raise ModelInvalid(
        f"{name} was asked for as {asked}, but {said} and its tensors are {held}; {cure}"
    )


def misnamed(model: ModelFile) -> list[str]:
    """What a file's own name says that its header denies; nothing when they agree."""
    found = [name for name in LEVELS if _variant(model.path.name, name) == ""]
    if not found or any(consistent(model, name) and model.level in (name, "") for name in found):
        return []
    try:
        for name in found:
            require_level(model, name)
    except ModelInvalid:
        return [f"its name says {found[0]}, its header {model.level}: {shown_tensors(model)}"]
    return []


def main_types(level: str) -> tuple[str, ...]:
    """The tensor types of which a file of this level must hold at least one."""
    if level in _MAIN:
        return _MAIN[level]
    base = re.sub(r"(?<=_K)_[SML]$", "", level)
    small = base.startswith(("IQ1", "IQ2", "IQ3", "IQ4_XS", "Q2_K", "Q3_K", "TQ"))
    if small:
        return (base, "IQ4_NL") if base.startswith("IQ") else (base, "Q4_0", "IQ4_NL")
    return (base, _FALLBACKS[base]) if base in _FALLBACKS else (base,)


def consistent(model: ModelFile, level: str) -> bool:
    """Whether the tensors can be what llama.cpp makes at this level."""
    types = set(model.tensor_types)
    if level in ("F32", "F16", "BF16"):
        most = max(model.tensor_types, key=lambda name: model.tensor_types[name], default="")
        return most == level
    return bool(types & set(main_types(level)))


def shown_tensors(model: ModelFile) -> str:
    """``F16 99.9 %, F32 0.1 %``: the types of the weights, the most frequent first."""
    total = sum(model.tensor_types.values()) or 1
    parts = sorted(model.tensor_types.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {100 * count / total:.1f} %" for name, count in parts[:4])


def choose(names: Iterable[str], level: str | None, *, where: str) -> tuple[str, ...]:
    """The file (or the shards, first one first) that holds a level, out of a listing.

    Follows the habits of GGUF publishers: ``X.Q4_K_M.gguf``, ``X-Q4_K_M.gguf``, ``X-f16.gguf`` in
    any case, a folder per level, shards, and the level only in the repository's name (``where``).
    A plain file is preferred to ``i1-`` and ``UD-`` variants of the level, which hold something
    else; ask for those by their name (``i1-Q4_K_M``). Raises ModelNotFound listing the candidates
    when none or more than one fits.
    """
    listed = [
        name for name in names if name.lower().endswith(".gguf") and not _NO_MODEL.search(name)
    ]
    sets = sorted({shard_names(name) for name in listed})
    found = _matching(sets, level, where)
    if len(found) == 1:
        missing = [name for name in found[0] if name not in listed]
        if missing:
            raise ModelNotFound(f"{where}: {found[0][0]} lacks its shard {missing[0]}")
        return found[0]
    asked = f"the level {level}" if level else "one GGUF file"
    if not listed:
        raise ModelNotFound(f"{where} holds no GGUF model file; check the name")
    if found:
        raise ModelNotFound(
            f"{where}: {asked} fits {len(found)} files: {_some(found)}; name one as repo:FILE"
        )
    raise ModelNotFound(f"{where}: {asked} was asked for, there are {_some(sets)}")


def _matching(
    sets: Sequence[tuple[str, ...]], level: str | None, where: str
) -> list[tuple[str, ...]]:
    if level is None:
        return list(sets)
    wanted = canonical_level(level)
    by_variant: dict[str, list[tuple[str, ...]]] = {}
    for shards in sets:
        variant = _variant(shards[0], wanted)
        if variant is not None:
            by_variant.setdefault(variant, []).append(shards)
    if plain := by_variant.pop("", None):
        return plain
    others = [shards for group in by_variant.values() for shards in group]
    if not others and len(sets) == 1 and _variant(f"{where}.gguf", wanted) is not None:
        return list(sets)
    return others


def _variant(name: str, level: str) -> str | None:
    """``''`` when a name holds the level, ``'UD-'`` for that variant, None when it does not."""
    path = PurePosixPath(name)
    parts = [unsharded(path.name)[: -len(".gguf")], *path.parent.parts]
    spellings = "|".join(_SPELLINGS.get(level, (re.escape(level),)))
    pattern = re.compile(rf"(?:^|[-._ ])({'|'.join(_VARIANTS)})?(?:{spellings})(?=$|[-. ])", re.I)
    for part in parts:
        if match := pattern.search(part):
            given = (match[1] or "").upper()
            return "" if level.startswith(_VARIANTS) else given
    return None


def _some(sets: Sequence[tuple[str, ...]]) -> str:
    names = [shards[0] for shards in sets]
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
