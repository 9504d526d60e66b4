"""Whatever stands in place of a GGUF file: one clear line, exit code 2, and we live on."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.cli import main
from harness.errors import ModelInvalid
from harness.models.inspect import describe
from tests.support.raw_gguf import (
    ARRAY,
    STRING,
    TENSORS,
    gguf,
    int32s,
    metadata,
    string,
    strings,
    tensor,
    text,
    u32,
    write,
)

HUGE = 1 << 62
GOOD = gguf()


def of(entries: list[tuple[str, bytes]]) -> bytes:
    return gguf(entries)


BYTES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "zero bytes": (bytes(4096), "begins with"),
    "half a magic": (b"GG", "begins with b'GG'"),
    "a web page": (b"<html>not found</html>", "begins with b'<htm'"),
    "only a magic": (b"GGUF", "truncated"),
    "version 1": (gguf(version=1), "GGUF version 1"),
    "big-endian": (gguf(version=3 << 24), "big-endian"),
    "truncated header": (GOOD[:200], "truncated"),
    "truncated tensor table": (GOOD[: len(GOOD) - 5300], "truncated"),
    "truncated data": (GOOD[:-100], "'blk.0.attn_q.weight' needs bytes up to"),
    "absurd tensor count": (gguf(n_tensors=HUGE), "tensor count"),
    "absurd metadata count": (gguf(n_entries=HUGE), "metadata count"),
    "one entry too many": (gguf(n_entries=12), "is no usable GGUF file"),
    "absurd key length": (GOOD[:24] + struct.pack("<Q", HUGE) + GOOD[32:], "string length"),
    "absurd array length": (
        of(metadata(merges=("x", struct.pack("<IIQ", ARRAY, STRING, HUGE)))),
        "array length",
    ),
    "absurd token length": (
        of(metadata(tokens=("x", struct.pack("<IIQQ", ARRAY, STRING, 8, HUGE)))),
        "element 0 of 8",
    ),
    "nested array": (
        of(metadata(tokens=("x", struct.pack("<IIQ", ARRAY, ARRAY, 1) + bytes(32)))),
        "nested",
    ),
    "unknown value type": (of(metadata(model=("x", struct.pack("<I", 99)))), "unknown type 99"),
    "metadata not UTF-8": (of(metadata(model=string("x", b"\xff\xfe"))), "not UTF-8"),
    "key twice": (of([*metadata(), u32("general.file_type", 1)]), "twice"),
    "alignment 3": (of([*metadata(), u32("general.alignment", 3)]), "general.alignment is 3"),
    "alignment 0": (of([*metadata(), u32("general.alignment", 0)]), "general.alignment is 0"),
    "alignment a text": (of([*metadata(), string("general.alignment", "x")]), "alignment is 'x'"),
    "no architecture": (of(metadata(architecture=None)), "names no architecture"),
    "no context length": (of(metadata(context_length=None)), "no llama.context_length"),
    "no tokenizer": (of(metadata(tokens=None)), "no tokenizer.ggml.tokens"),
    "tokens are numbers": (
        of(metadata(tokens=int32s("tokenizer.ggml.tokens", [1] * 8))),
        "not texts",
    ),
    "token types missing": (
        of(metadata(token_type=int32s("tokenizer.ggml.token_type", [1]))),
        "1 entries in tokenizer.ggml.token_type for 8 tokens",
    ),
    "a LoRA adapter": (of([*metadata(), string("general.type", "adapter")]), "GGUF adapter"),
    "missing token table": (
        gguf(tensors=[tensor("blk.0.attn_q.weight", (32, 32), 0)]),
        "'token_embd.weight' is missing",
    ),
    "missing block": (
        of(metadata(block_count=u32("llama.block_count", 2))),
        "block 1 has no tensor",
    ),
    "absurd block count": (
        of(metadata(block_count=u32("llama.block_count", 0xFFFFFFFF))),
        "block 1 has no tensor",
    ),
    "tensors that share their bytes": (
        gguf(tensors=[TENSORS[0], tensor("blk.0.attn_q.weight", (32, 32), 0)]),
        "overlap",
    ),
    "tensors in a circle": (
        gguf(tensors=[tensor("a", (32, 8), 4096), tensor("b", (32, 32), 0)]),
        "overlap or gap",
    ),
    "misaligned tensor": (
        gguf(tensors=[TENSORS[0], tensor("blk.0.attn_q.weight", (32, 32), 1025)]),
        "not aligned",
    ),
    "tensor twice": (
        gguf(tensors=[TENSORS[0], tensor("token_embd.weight", (32, 8), 1024)]),
        "twice",
    ),
    "unknown tensor type": (
        gguf(tensors=[TENSORS[0], tensor("blk.0.w", (32, 32), 1024, kind=77)]),
        "unknown type 77",
    ),
    "nine dimensions": (
        gguf(tensors=[tensor("w", (1,) * 9, 0)]),
        "9 dimensions",
    ),
    "no dimensions": (gguf(tensors=[tensor("w", (), 0)]), "0 dimensions"),
    "empty shape": (gguf(tensors=[tensor("w", (32, 0), 0)]), "absurd shape"),
    "shape that overflows": (gguf(tensors=[tensor("w", (1 << 33,) * 4, 0)]), "absurd shape"),
    "half a block": (gguf(tensors=[tensor("w", (31, 4), 0, kind=8)]), "no multiple of Q8_0's 32"),
    "tensor name too long": (gguf(tensors=[tensor("w" * 80, (32, 4), 0)]), "80 characters"),
    "control characters in a name": (
        gguf(tensors=[tensor("\x1b[2J\n\nw", (32, 0), 0)]),
        "absurd shape",
    ),
}


def folder(tmp_path: Path) -> Path:
    path = tmp_path / "folder.gguf"
    path.mkdir()
    return path


def loop(tmp_path: Path) -> Path:
    path = tmp_path / "loop.gguf"
    path.symlink_to(tmp_path / "other.gguf")
    (tmp_path / "other.gguf").symlink_to(path)
    return path


def broken_link(tmp_path: Path) -> Path:
    path = tmp_path / "link.gguf"
    path.symlink_to(tmp_path / "gone.gguf")
    return path


def shard_missing(tmp_path: Path) -> Path:
    return write(tmp_path / "m-00001-of-00003.gguf")


def shard_renamed(tmp_path: Path) -> Path:
    return write(tmp_path / "m.gguf", of([*metadata(), u32("split.count", 3)]))


def shards_of_another_model(tmp_path: Path) -> Path:
    for number in (1, 2):
        write(tmp_path / f"m-0000{number}-of-00002.gguf")
    return tmp_path / "m-00001-of-00002.gguf"


def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe.gguf"
    os.mkfifo(path)
    return path


def missing(tmp_path: Path) -> Path:
    return tmp_path / "gone.gguf"


PLACES: list[tuple[Callable[[Path], Path], str]] = [
    (folder, "is a folder"),
    (loop, "loop.gguf"),
    (broken_link, "does not exist"),
    (shard_missing, "m-00002-of-00003.gguf, m-00003-of-00003.gguf are not in"),
    (shard_renamed, "says it is one of 3 shards"),
    (shards_of_another_model, "says it is shard None of None"),
    (pipe, "no regular file"),
    (missing, "no file"),
]


# The reader is asked about every one of BYTES; that the command passes its words on is one path.
THROUGH_THE_COMMAND = (
    "empty",
    "truncated data",
    "absurd array length",
    "metadata not UTF-8",
    "control characters in a name",
)


def through_the_command() -> list[Any]:
    """A few of BYTES, and as slow tests all others."""
    fast = [pytest.param(name) for name in THROUGH_THE_COMMAND]
    slow = [name for name in BYTES if name not in THROUGH_THE_COMMAND]
    return fast + [pytest.param(name, marks=pytest.mark.slow) for name in slow]


@pytest.mark.parametrize("name", through_the_command())
def test_malformed_bytes_give_one_clear_line_and_exit_code_2(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content, expected = BYTES[name]
    one_line(write(tmp_path / "bad.gguf", content), expected, capsys)


@pytest.mark.parametrize("name", BYTES)
def test_the_reader_names_the_first_thing_wrong(name: str, tmp_path: Path) -> None:
    content, expected = BYTES[name]
    with pytest.raises(ModelInvalid, match=re.escape(expected)):
        describe([str(write(tmp_path / "bad.gguf", content))])


@pytest.mark.parametrize(("make", "expected"), PLACES, ids=[make.__name__ for make, _ in PLACES])
def test_what_is_no_file_gives_one_clear_line_and_exit_code_2(
    make: Callable[[Path], Path],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if make is pipe and not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    one_line(make(tmp_path), expected, capsys)


def one_line(path: Path, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["inspect", str(path)])
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert len(lines) == 1, printed.err
    assert lines[0].startswith("harness: ")
    assert expected in lines[0]
    assert "\x1b" not in lines[0]


def test_a_sound_file_beside_all_these_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(write(tmp_path / "good.gguf"))]) == 0
    assert "architecture       llama" in capsys.readouterr().out


def test_a_long_vocabulary_with_awkward_bytes_is_read_like_a_plain_loop_would(
    tmp_path: Path,
) -> None:
    """The vectorised walk against the obvious one, with zero bytes, empties and window edges."""
    import random

    from harness.models.header import read_header

    random.seed(7)
    values = [
        "".join(random.choices("\0\x01\x08aé日", k=random.randrange(0, 40))) for _ in range(200_000)
    ]
    values[5] = "x" * 65_000
    path = write(
        tmp_path / "v.gguf", gguf(metadata(merges=strings("tokenizer.ggml.merges", values)))
    )
    header = read_header(path)
    array = header.arrays["tokenizer.ggml.merges"]
    assert array.nbytes == sum(len(text(value)) for value in values)
    places = [0, 1, 5, 6, 99_999, 199_999]
    assert [header.string_at("tokenizer.ggml.merges", at) for at in places] == [
        values[at] for at in places
    ]
    assert header.index_of("tokenizer.ggml.merges", values[123_456]) == values.index(
        values[123_456]
    )
    assert header.index_of("tokenizer.ggml.merges", "no such merge") is None
