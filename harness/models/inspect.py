"""What a GGUF file says about itself, read in a child process and checked against its size."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.errors import ModelInvalid, ModelNotFound
from harness.hashing import tagged_hash
from harness.models.digest import sha256_of_set
from harness.models.ggml import FILE_TYPES, SUPER_BLOCK
from harness.models.shards import shard_paths
from harness.process import call
from harness.records import ModelFile

SECONDS = 60.0
MEMORY = 4 << 30
_HASH_BESIDE = 2 << 30
"""Larger files are digested after their header was found good: an error should not take minutes."""
_LONG_TEXT = 512
_ROLES = ("bos", "eos", "eot", "fim_pre", "fim_suf", "fim_mid")
_OLD_FIM = {"fim_pre": "prefix", "fim_suf": "suffix", "fim_mid": "middle"}
_SNAPSHOT = re.compile(
    r"/models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>[^/]+)/(?P<file>.+)$"
)
_BLOCK = re.compile(r"(?:^|\.)blk\.(\d+)\.")
_PARTS = ("tokens", "token_type", "scores", "merges")


def inspect_model(path: Path, *, sha256: bool = True) -> ModelFile:
    """The header of a GGUF file (or of a set of shards) as a record, with the file's digest.

    The header is parsed in a child process with a time and a memory limit, while this process
    digests the bytes. ``metadata`` holds the file's own short values, and what was derived under
    ``inspect.``: counts, digests of the tokenizer's parts, oddities, bytes per layer, fallback
    share. Raises ModelInvalid or ModelNotFound with one line saying what is wrong.
    """
    return _inspect([files_of(path)], sha256)[0] if not sha256 else inspect_models([path])[0]


def inspect_models(paths: Sequence[Path]) -> list[ModelFile]:
    """Each file as :func:`inspect_model` gives it, all headers read by one child process.

    Where that child fails every file is read by a child of its own, so that the error is about
    the file that caused it.
    """
    sets = [files_of(path) for path in paths]
    states = [tuple(_state(part) for part in files) for files in sets]
    new = {state: files for state, files in zip(states, sets, strict=True) if state not in _SEEN}
    if new:
        try:
            found = _inspect(list(new.values()), True)
        except ModelInvalid:
            found = [_inspect([files], True)[0] for files in new.values()]
        _SEEN.update(zip(new, found, strict=True))
    return [_SEEN[state] for state in states]


_SEEN: dict[tuple[tuple[object, ...], ...], ModelFile] = {}
"""What this process has read, by the state of the files: a grid names the same file many times."""


def _state(part: Path) -> tuple[object, ...]:
    """A file's name, identity, size and time of change; another file, or a new content, differs."""
    status = part.stat()
    return (str(part), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def _inspect(sets: Sequence[tuple[Path, ...]], sha256: bool) -> list[ModelFile]:
    """The models of several sets of files, read in a child while this process digests them."""
    size = sum(part.stat().st_size for paths in sets for part in paths)
    digest_of = sha256_of_set if sha256 else (lambda _: "")
    with ThreadPoolExecutor(1) as pool:
        early = pool.submit(lambda: [digest_of(s) for s in sets]) if size <= _HASH_BESIDE else None
        found = call(
            describe_all,
            [[str(part) for part in paths] for paths in sets],
            error=ModelInvalid,
            doing=f"reading the header of {', '.join(str(paths[0]) for paths in sets)}",
            seconds=SECONDS * len(sets),
            memory=MEMORY,
        )
    digests = early.result() if early else [digest_of(paths) for paths in sets]
    return [
        ModelFile(path=paths[0], sha256=digest, source=_source(paths[0]), **fields)
        for paths, digest, fields in zip(sets, digests, found, strict=True)
    ]


def _source(path: Path) -> str:
    """``owner/repo@commit:file`` for a file in the hub's cache, else nothing."""
    match = _SNAPSHOT.search(path.absolute().as_posix())
    return f"{match['owner']}/{match['name']}@{match['commit']}:{match['file']}" if match else ""


def files_of(path: Path) -> tuple[Path, ...]:
    """The files a path stands for. Raises one clear error for whatever is not there to be read."""
    try:
        if path.is_dir():
            raise ModelInvalid(f"{path} is a folder, not a GGUF file; name a file inside it")
        path.resolve(strict=True)
    except FileNotFoundError as error:
        raise ModelNotFound(f"{path} does not exist; check the path") from error
    except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError before 3.13
        raise ModelInvalid(f"{path} cannot be followed: {error}; check its links") from error
    if not path.is_file():
        raise ModelInvalid(f"{path} is no regular file; name a GGUF file")
    return shard_paths(path)


def describe_all(sets: list[list[str]]) -> list[dict[str, Any]]:
    """The child's part: :func:`describe` for each set of files."""
    return [describe(paths) for paths in sets]


def describe(paths: list[str]) -> dict[str, Any]:
    """The child's part of :func:`inspect_model`: fields of a ModelFile as JSON values."""
    from harness.models.header import Header, read_header

    headers: list[Header] = [read_header(Path(path)) for path in paths]
    first = headers[0]
    _check_shards(headers)
    scalars = first.scalars
    if scalars.get("general.type", "model") != "model":
        raise ModelInvalid(f"{first.path} is a GGUF {scalars['general.type']}, not a model")
    architecture = scalars.get("general.architecture")
    if not isinstance(architecture, str) or not architecture:
        raise ModelInvalid(f"{first.path} is no usable GGUF file: it names no architecture")
    for needed in ("context_length", "embedding_length", "block_count"):
        if not isinstance(scalars.get(f"{architecture}.{needed}"), int):
            raise ModelInvalid(f"{first.path} is no usable GGUF file: no {architecture}.{needed}")
    tensors = [tensor for header in headers for tensor in header.tensors]
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise ModelInvalid(f"{first.path}: two shards hold the same tensor; fetch the set again")
    _check_tensors(first.path, [tensor.name for tensor in tensors], scalars, architecture)
    histogram: Counter[str] = Counter()
    for tensor in tensors:
        histogram[tensor.type_name] += tensor.elements
    parameters = sum(histogram.values())
    level = FILE_TYPES.get(scalars.get("general.file_type", -1), "") or _dominant(histogram)
    tokenizer = _tokenizer(first)
    special, odd = _special(first)
    template = scalars.get("tokenizer.chat_template")
    named = sorted(key for key in scalars if key.startswith("tokenizer.chat_template."))
    odd += [note for header in headers for note in header.odd]
    return {
        "size": sum(header.size for header in headers),
        "architecture": architecture,
        "parameters": parameters,
        "context_length": int(scalars[f"{architecture}.context_length"]),
        "tokenizer_digest": tagged_hash("tokenizer", tokenizer),
        "chat_template": template if isinstance(template, str) else None,
        "bits_per_weight": 8 * sum(tensor.nbytes for tensor in tensors) / parameters,
        "tensor_types": dict(histogram.most_common()),
        "special": special,
        "level": level,
        "metadata": {
            **_short_values(first),
            "inspect.gguf_version": first.version,
            "inspect.blocks": int(scalars[f"{architecture}.block_count"]),
            "inspect.tensors": len(tensors),
            "inspect.shards": [header.path.name for header in headers],
            "inspect.tokens": first.arrays["tokenizer.ggml.tokens"].count,
            "inspect.tokenizer": tokenizer,
            "inspect.named_templates": [key.rsplit(".", 1)[1] for key in named],
            "inspect.template": _template_oddities(first, special),
            "inspect.odd": odd,
            **_fallback(tensors, level, parameters),
            **_layers(tensors, int(scalars[f"{architecture}.block_count"])),
        },
    }


def token_difference(a: str, b: str) -> dict[str, int]:
    """How two vocabularies differ, for :mod:`harness.models.pair`: runs in a child process.

    ``common`` token ids exist in both, ``differ`` of them have another text, ``first`` is the
    first such id (-1: none).
    """
    import numpy as np

    from harness.models.header import read_header

    key = "tokenizer.ggml.tokens"
    digests = []
    for path in (a, b):
        header = read_header(Path(path))
        raw = header.raw(key)
        array = header.arrays[key]
        assert array.starts is not None
        lengths = np.diff(np.append(array.starts, array.start + array.nbytes))
        # Sum of bytes times powers of an odd number, modulo 2**64: equal texts, equal sums.
        weights = np.multiply.accumulate(
            np.full(int(lengths.max(initial=1)), 0x9E3779B97F4A7C15, dtype=np.uint64)
        )
        place = np.arange(len(raw)) - np.repeat(array.starts - array.start, lengths)
        terms = np.frombuffer(raw, dtype=np.uint8).astype(np.uint64) * weights[place]
        digests.append(np.add.reduceat(terms, array.starts - array.start))
    common = min(map(len, digests))
    different = np.flatnonzero(digests[0][:common] != digests[1][:common])
    first = int(different[0]) if len(different) else -1
    return {"common": common, "differ": len(different), "first": first}


def _check_shards(headers: list[Any]) -> None:
    count = len(headers)
    path = headers[0].path
    claimed = headers[0].scalars.get("split.count", 1)
    if count == 1 and isinstance(claimed, int) and claimed > 1:
        raise ModelInvalid(
            f"{path} says it is one of {claimed} shards but is not named X-00001-of-{claimed:05d}"
            ".gguf; give the shards their published names"
        )
    if count == 1:
        return
    for number, header in enumerate(headers):
        found = (header.scalars.get("split.no"), header.scalars.get("split.count"))
        if found != (number, count):
            raise ModelInvalid(
                f"{header.path.name} says it is shard {found[0]} of {found[1]}, its name says "
                f"{number} of {count}; fetch the set again"
            )
    tensors = sum(len(header.tensors) for header in headers)
    promised = headers[0].scalars.get("split.tensors.count", tensors)
    if promised != tensors:
        raise ModelInvalid(f"{path}: the shards hold {tensors} tensors of {promised} promised")


def _check_tensors(path: Path, names: list[str], scalars: dict[str, Any], arch: str) -> None:
    """The tensors every text model has: the token table and something in every block."""
    tokens = "token_embd.weight"
    if tokens not in names:
        raise ModelInvalid(f"{path} is no usable GGUF file: tensor {tokens!r} is missing")
    blocks = {int(match[1]) for name in names if (match := _BLOCK.search(name))}
    count = scalars[f"{arch}.block_count"]
    missing = set(range(min(count, len(names) + 1))) - blocks
    if missing:
        raise ModelInvalid(
            f"{path} is no usable GGUF file: it announces {count} blocks, block {min(missing)} has "
            "no tensor"
        )


def _dominant(histogram: Counter[str]) -> str:
    return f"~{histogram.most_common(1)[0][0]}"


def _tokenizer(header: Any) -> dict[str, str]:
    """Digests of the tokenizer's parts, and its declared model and pre-tokenizer."""
    if "tokenizer.ggml.tokens" not in header.arrays:
        raise ModelInvalid(f"{header.path} is no usable GGUF file: it has no tokenizer.ggml.tokens")
    arrays = {part: header.arrays.get(f"tokenizer.ggml.{part}") for part in _PARTS}
    count = arrays["tokens"].count
    if arrays["tokens"].starts is None or count == 0:
        raise ModelInvalid(f"{header.path} is no usable GGUF file: its tokens are not texts")
    for part in ("token_type", "scores"):
        if arrays[part] is not None and arrays[part].count != count:
            raise ModelInvalid(
                f"{header.path} is no usable GGUF file: {arrays[part].count} entries in "
                f"tokenizer.ggml.{part} for {count} tokens"
            )
    declared = {
        name: str(header.scalars.get(f"tokenizer.ggml.{name}", "")) for name in ("model", "pre")
    }
    return declared | {part: array.sha256 if array else "" for part, array in arrays.items()}


def _special(header: Any) -> tuple[dict[str, str], list[str]]:
    """Role -> token text, and what is odd about the ids."""
    from harness.models.chat import END_OF_TURN

    tokens = "tokenizer.ggml.tokens"
    special: dict[str, str] = {}
    odd: list[str] = []
    for role in _ROLES:
        keys = [f"tokenizer.ggml.{role}_token_id"]
        keys += [f"tokenizer.ggml.{_OLD_FIM[role]}_token_id"] if role in _OLD_FIM else []
        number = next((header.scalars[key] for key in keys if key in header.scalars), None)
        if number is None:
            continue
        text = header.string_at(tokens, number) if isinstance(number, int) else None
        if text is None:
            odd.append(f"the {role.upper()} id {number} is no token; llama.cpp takes a default")
        else:
            special[role] = text
    for role in ("bos", "eos"):
        if f"tokenizer.ggml.{role}_token_id" not in header.scalars:
            odd.append(f"no {role.upper()} id is given; llama.cpp takes the tokenizer's default")
    if "eot" not in special:
        known = (text for text in END_OF_TURN if header.index_of(tokens, text) is not None)
        if (found := next(known, None)) and found != special.get("eos"):
            special["eot"] = found
    return special, odd


def _template_oddities(header: Any, special: dict[str, str]) -> list[str]:
    from harness.models.chat import oddities

    template = header.scalars.get("tokenizer.chat_template")
    if not isinstance(template, str):
        return []
    return oddities(
        template,
        knows=lambda text: header.index_of("tokenizer.ggml.tokens", text) is not None,
        special=special,
        adds_bos=bool(header.scalars.get("tokenizer.ggml.add_bos_token", False)),
    )


def _short_values(header: Any) -> dict[str, Any]:
    """Scalars and short arrays; long texts are cut, since a manifest carries this."""
    values: dict[str, Any] = {}
    for key, value in header.scalars.items():
        if key.startswith("tokenizer.chat_template"):
            continue
        if isinstance(value, float) and value != value:
            value = "nan"
        if isinstance(value, str) and len(value) > _LONG_TEXT:
            value = f"{value[:_LONG_TEXT]}… ({len(value)} characters)"
        values[key] = value
    for key, array in header.arrays.items():
        if array.count > 256 or key.startswith("tokenizer."):
            continue
        if array.starts is None:
            values[key] = header.numbers(key)
        elif array.nbytes <= 8192:
            values[key] = [header.string_at(key, index) for index in range(array.count)]
    return values


def _fallback(tensors: list[Any], level: str, parameters: int) -> dict[str, Any]:
    """Share of elements in rows no multiple of 256 that are not of the level's own type.

    llama.cpp stores such tensors in a wider type (Q4_K in Q5_0, Q5_K in Q5_1, Q6_K in Q8_0,
    smaller ones in Q4_0 or IQ4_NL: ``tensor_type_fallback`` in llama-quant.cpp).
    """
    rows = [tensor for tensor in tensors if len(tensor.shape) > 1 and tensor.shape[0] % SUPER_BLOCK]
    fallen = [t for t in rows if t.type_name not in ("F32", "F16", "BF16", level.lstrip("~"))]
    return {
        "inspect.fallback_share": sum(tensor.elements for tensor in fallen) / parameters,
        "inspect.fallback_types": sorted({tensor.type_name for tensor in fallen}),
    }


def _layers(tensors: list[Any], blocks: int) -> dict[str, Any]:
    """Bytes of each block and of what stands outside them, for choosing what goes to a GPU."""
    layers = [0] * min(blocks, len(tensors))
    outside = {"input": 0, "output": 0}
    for tensor in tensors:
        match = _BLOCK.search(tensor.name)
        if match and int(match[1]) < len(layers):
            layers[int(match[1])] += tensor.nbytes
        else:
            outside["input" if tensor.name.startswith("token_embd") else "output"] += tensor.nbytes
    return {"inspect.layer_bytes": layers, "inspect.outside_bytes": outside}
