"""Which file a level names, by the habits of those who publish GGUF files."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import ModelInvalid, ModelNotFound
from harness.models import inspect_model, quantize, require_level
from harness.models.levels import choose, misnamed
from tests.support.tinygguf import write_llama

SHARDS = ("Q4_K_M/X-Q4_K_M-00001-of-00002.gguf", "Q4_K_M/X-Q4_K_M-00002-of-00002.gguf")


@pytest.mark.parametrize(
    ("names", "level", "expected"),
    [
        (["X.Q4_K_M.gguf", "X.Q4_K_S.gguf"], "Q4_K_M", "X.Q4_K_M.gguf"),
        (["X-Q4_K_M.gguf", "X-Q4_K.gguf"], "Q4_K", "X-Q4_K.gguf"),
        (["x-q8_0.gguf", "x-q4_0.gguf"], "Q8_0", "x-q8_0.gguf"),
        (["X-f16.gguf", "X-bf16.gguf"], "F16", "X-f16.gguf"),
        (["X-fp16.gguf", "X-Q8_0.gguf"], "f16", "X-fp16.gguf"),
        (["X-BF16.gguf", "X-F16.gguf"], "bf16", "X-BF16.gguf"),
        (["X.i1-Q4_K_M.gguf", "X.i1-Q2_K.gguf"], "Q4_K_M", "X.i1-Q4_K_M.gguf"),
        (["X-UD-Q4_K_XL.gguf", "X-Q4_K_M.gguf"], "Q4_K_XL", "X-UD-Q4_K_XL.gguf"),
        (["X-UD-Q2_K.gguf", "X-Q2_K.gguf"], "Q2_K", "X-Q2_K.gguf"),
        (["X-UD-Q2_K.gguf", "X-Q2_K.gguf"], "UD-Q2_K", "X-UD-Q2_K.gguf"),
        (["X-Q4_K_M.gguf", "X-Q4_K_M_L.gguf"], "Q4_K_M", "X-Q4_K_M.gguf"),
        (["Q8_0/model.gguf", "F16/model.gguf"], "Q8_0", "Q8_0/model.gguf"),
        (["mmproj-X-Q8_0.gguf", "X-Q8_0.gguf"], "Q8_0", "X-Q8_0.gguf"),
        (["X-imatrix.gguf", "X-Q8_0.gguf"], None, "X-Q8_0.gguf"),
        (["model.gguf", "README.md"], None, "model.gguf"),
        ([*SHARDS, "X-Q8_0.gguf"], "Q4_K_M", SHARDS[0]),
    ],
)
def test_a_level_is_found_under_publishers_naming_habits(
    names: list[str], level: str | None, expected: str
) -> None:
    assert choose(names, level, where="owner/X-GGUF")[0] == expected


def test_a_split_model_is_all_its_shards_in_order() -> None:
    assert choose(reversed(SHARDS), "Q4_K_M", where="o/X") == SHARDS


def test_the_level_may_stand_in_the_repositorys_name_alone() -> None:
    assert choose(["model.gguf"], "Q8_0", where="owner/X-Q8_0-GGUF") == ("model.gguf",)
    with pytest.raises(ModelNotFound, match=r"Q4_0 was asked for, there are model\.gguf"):
        choose(["model.gguf"], "Q4_0", where="owner/X-Q8_0-GGUF")


@pytest.mark.parametrize(
    ("names", "level", "message"),
    [
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0", "fits 2 files: a-Q8_0.gguf, b-Q8_0.gguf"),
        (["X.i1-Q2_K.gguf", "X-UD-Q2_K.gguf"], "Q2_K", "fits 2 files"),
        (["a.gguf", "b.gguf"], None, "one GGUF file fits 2 files"),
        (["README.md"], "Q8_0", "holds no GGUF model file"),
        (["mmproj-F16.gguf"], "F16", "holds no GGUF model file"),
        (SHARDS[:1], "Q4_K_M", "lacks its shard Q4_K_M/X-Q4_K_M-00002-of-00002.gguf"),
    ],
)
def test_what_is_missing_or_ambiguous_is_listed_not_guessed(
    names: list[str], level: str | None, message: str
) -> None:
    with pytest.raises(ModelNotFound, match=message):
        choose(names, level, where="owner/X-GGUF")


@pytest.mark.parametrize(
    "level",
    [
        *("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q3_K_M", "Q2_K", "IQ4_XS"),
        pytest.param("Q3_K_S", marks=pytest.mark.slow),  # the very types that Q2_K falls back to
    ],
)
def test_levels_made_of_rows_that_no_super_block_fits_are_what_they_are(
    level: str, tmp_path: Path
) -> None:
    """Rows of 64: llama.cpp falls back to types of 32-weight blocks for every matrix."""
    made = quantize(write_llama(tmp_path / "m-F16.gguf", width=64), level, out=tmp_path)
    model = inspect_model(made)
    assert require_level(model, level) == ""
    assert misnamed(model) == []
    with pytest.raises(ModelInvalid, match="was asked for as"):
        require_level(model, "F16")
