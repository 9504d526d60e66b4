from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.checks import CONTROLS, health, judge, metrics, respond, views
from harness.checks.text.health import echo_share, first_turn, tail_period
from harness.errors import CheckError
from harness.records import CheckSpec, Generation, Message, Sample


def generation(text: str, answer: str) -> Generation:
    return Generation("k", text, answer, (), "stop", 3, 5)


def test_the_three_views_of_a_generation() -> None:
    text = "Assam.\nUser: And a cake?\nQuestion: Why?\nBecause."
    assert views(generation(text, "Assam.\nUser: And a cake?")) == {
        "untrimmed": text,
        "stop_trimmed": "Assam.\nUser: And a cake?",
        "first_turn": "Assam.",
    }


@pytest.mark.parametrize(
    "marker",
    [
        "User:",
        "Human:",
        "Q:",
        "### Instruction:",
        "# Query:",
        "<|im_start|>user",
        "[INST] x",
        "USER:",
    ],
)
def test_another_speakers_turn_ends_the_first(marker: str) -> None:
    assert first_turn(f"Tea.\n{marker} more") == "Tea."


@pytest.mark.parametrize("text", ["My questions: tea", "Users: many", "a # b", "## Tea", ""])
def test_a_word_that_only_looks_like_a_turn_does_not(text: str) -> None:
    assert first_turn(f"Tea.\n{text}") == f"Tea.\n{text}"


def test_run_on_is_read_from_all_that_was_generated() -> None:
    found = health("?", "Tea.\nQuestion: x", "Tea.", "stop", wants_language=None)
    assert (found["run_on"], found["invented_turn"]) == (1.0, 0.0)
    assert (found["finish_stop"], found["finish_eos"]) == (1.0, 0.0)


def test_the_heading_of_a_users_own_strategy_is_another_speakers_turn() -> None:
    text = "Tea.\nClient says: more"
    for stops, run_on in ((("\nClient says:",), 1.0), (("\n---", "Tea"), 0.0), ((), 0.0)):
        found = health("?", text, "Tea.", "stop", wants_language=None, stops=stops)
        assert found["run_on"] == run_on


@given(st.text(max_size=30), st.text(max_size=30))
def test_echo_is_the_longest_common_substring(prompt: str, answer: str) -> None:
    longest = max(
        (
            stop - start
            for start in range(len(answer))
            for stop in range(start, len(answer) + 1)
            if answer[start:stop] in prompt
        ),
        default=0,
    )
    assert echo_share(prompt, answer) == (longest / len(answer) if answer else 0.0)


@given(st.text(alphabet="ab ", min_size=1, max_size=12), st.integers(3, 6), st.text(max_size=20))
def test_a_tail_repeated_three_times_is_a_loop(unit: str, times: int, before: str) -> None:
    text = before + unit * times
    body = text.rstrip()

    def loops(period: int) -> bool:
        length = max(3 * period, 24)
        tail = body[-length:]
        return length <= len(body) and tail[period:] == tail[:-period]

    repeated = [period for period in range(1, len(body) // 3 + 1) if loops(period)]
    assert tail_period(text) == (min(repeated) if repeated else None)


def test_short_tails_and_prose_are_no_loops() -> None:
    assert tail_period("Really?!?!?!?!") is None
    assert tail_period("One tea. Two teas. Three teas and a cake, said the cat.") is None
    assert tail_period("Go on. " * 5) == 7


def test_repetition_figures() -> None:
    found = health("?", "x", "a b a b a b a b", "eos", wants_language=None)
    assert found["distinct_1"] == 2 / 8
    assert found["distinct_2"] == 2 / 7
    assert found["repeated_4gram"] == 1.0
    assert health("?", "", "", "eos", wants_language=None)["distinct_1"] == 1.0
    assert health("?", "", "tea " * 500, "eos", wants_language=None)["compression"] > 20


def test_another_script_shows_unless_a_language_was_asked_for() -> None:
    text = "Ассам — это чай"
    assert health("Name a tea.", text, text, "eos", wants_language=None)["script_switch"] == 1.0
    assert "script_switch" not in health("?", text, text, "eos", wants_language="ru")
    assert health("Назови чай", text, text, "eos", wants_language=None)["script_switch"] == 0.0
    few = "The tea is called чай in Russian, and people drink it all day long."
    assert health("Name a tea.", few, few, "eos", wants_language=None)["script_switch"] == 0.0


def sample() -> Sample:
    checks = (CheckSpec("punctuation:no_comma"), CheckSpec("lines", {"at_least": 2}))
    turns = (Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "Name\na tea."))
    return Sample("x", turns, checks)


def test_controls_answer_without_a_model() -> None:
    answers = {control: respond(control, sample()) for control in CONTROLS}
    assert tuple(answers) == ("empty", "yes", "paragraph", "echo", "loop")
    assert (answers["empty"], answers["yes"], answers["echo"]) == ("", "Yes", "Name\na tea.")
    assert tail_period(answers["loop"]) == len(answers["paragraph"]) + 2
    assert metrics([judge(sample(), answers["echo"])])["prompt_level_strict_acc"] == 1.0
    assert metrics([judge(sample(), answers["empty"])])["inst_level_strict_acc"] == 0.0


def test_an_unknown_control_names_those_there_are() -> None:
    with pytest.raises(CheckError, match="there are empty, yes"):
        respond("shrug", sample())
