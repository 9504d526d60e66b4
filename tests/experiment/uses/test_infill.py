from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.datasets.infill import Infill, load_infill
from harness.engine import FakeTokenizer
from harness.errors import SuiteError
from harness.experiment.uses.infill import edit_similarity, filled, fim_prompt

ITEM = Infill("a", "def f():\n    ", "\n\nprint(f())\n", "return 1", path="f.py", repo="r")


class Fim(FakeTokenizer):
    def __init__(self, **roles: int) -> None:
        super().__init__(special={**{n: f"<{r}>" for r, n in roles.items()}, 256: "<s>"})
        self.fim_tokens = roles


def ids(text: str) -> list[int]:
    return list(text.encode())


def test_prompts_put_the_vocabularys_tokens_around_prefix_and_suffix() -> None:
    tokenizer = Fim(pre=300, suf=301, mid=302)
    psm, spm = (fim_prompt(tokenizer, ITEM, order) for order in ("psm", "spm"))
    assert psm is not None
    assert spm is not None
    prefix, suffix = ids(ITEM.prefix), ids(ITEM.suffix)
    assert list(psm.token_ids) == [256, 300, *prefix, 301, *suffix, 302]
    assert list(spm.token_ids) == [256, 301, *suffix, 300, *prefix, 302]
    assert psm.bos_count == 1
    assert psm.special_tokens == ("<pre>", "<suf>", "<mid>")


def test_other_files_stand_before_behind_the_file_separator() -> None:
    tokenizer = Fim(pre=300, suf=301, mid=302, rep=303, sep=304)
    item = Infill("a", "x", "y", "z", path="f.py", repo="r", files=(("g.py", "G"),))
    found = fim_prompt(tokenizer, item, "psm")
    assert found is not None
    before = [256, 303, *ids("r\n"), 304, *ids("g.py\nG"), 304, *ids("f.py\n")]
    assert list(found.token_ids) == [*before, 300, *ids("x"), 301, *ids("y"), 302]


def test_a_vocabulary_without_the_tokens_cannot_express_it() -> None:
    assert fim_prompt(Fim(pre=300, suf=301), ITEM, "psm") is None


def test_an_answer_ends_where_it_repeats_the_suffix_and_a_code_block_is_opened() -> None:
    assert filled(ITEM, "return 1\n\nprint(f())\nand more") == "return 1\n"
    assert filled(ITEM, "```python\nreturn 1\n```\nThere.") == "return 1\n"
    assert filled(ITEM, "return 2") == "return 2"


def test_edit_similarity() -> None:
    assert edit_similarity(" return 1\n", "return 1") == 1
    assert edit_similarity("return 2", "return 1") == pytest.approx(1 - 1 / 8)
    assert edit_similarity("", "return 1") == 0


def test_rows_of_humaneval_infilling_load(tmp_path: Path) -> None:
    row = {
        "task_id": "SingleLineInfilling/HumanEval/0/L0",
        "entry_point": "double",
        "prompt": "def double(x):\n",
        "suffix": "\n",
        "canonical_solution": "    return 2 * x",
        "test": "def check(candidate):\n    assert candidate(2) == 4",
    }
    path = tmp_path / "he.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    (item,) = load_infill([path])
    assert (item.prefix, item.reference) == (row["prompt"], row["canonical_solution"])
    scope: dict[str, object] = {}
    exec(item.prefix + item.reference + item.suffix + item.tests, scope)
    with pytest.raises(AssertionError):
        exec(item.prefix + "    return x" + item.suffix + item.tests, {})


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({"prefix": "a", "suffix": "b"}, "reference"),
        ({"prefix": "a", "suffix": "b", "reference": " "}, "nothing"),
        ({"prefix": "a", "sufix": "b", "reference": "c"}, "did you mean 'suffix'"),
        ({"prefix": 1, "suffix": "b", "reference": "c"}, "wanted a text"),
        ([1], "wanted an object"),
    ],
)
def test_a_wrong_row_is_refused_with_its_place(tmp_path: Path, row: object, word: str) -> None:
    path = tmp_path / "gaps.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(SuiteError, match=word) as caught:
        load_infill([path])
    assert "gaps.jsonl:1" in str(caught.value)
