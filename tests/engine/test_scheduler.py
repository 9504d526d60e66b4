from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.engine.sampling import derive_seed
from harness.engine.scheduler import (
    best_source,
    choose_slot,
    common,
    families,
    in_order,
    shared_prefix,
    whole_chunks,
)
from harness.engine.sequence import Job, Slot
from harness.records import Sampling

TOKENS = st.lists(st.integers(0, 2), max_size=30).map(tuple)


def job(*tokens: int, key: str = "k", max_tokens: int = 10) -> Job:
    return Job(key=key, tokens=tokens, sampling=Sampling(max_tokens=max_tokens))


@given(TOKENS, TOKENS)
def test_common_counts_leading_tokens(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    count = common(left, right)
    assert left[:count] == right[:count]
    assert count == min(len(left), len(right)) or left[count] != right[count]


def test_the_longest_come_first_and_prefix_mates_stay_together() -> None:
    shared = (7, 7, 7, 7)
    jobs = [
        job(*range(9), key="alone"),
        job(*shared, 1, key="short"),
        job(*shared, *range(20), key="long"),
        job(*range(50, 80), key="longest"),
    ]
    assert [entry.key for entry in in_order(jobs, 4)] == ["longest", "long", "short", "alone"]


@given(st.lists(TOKENS.filter(bool), max_size=12))
def test_ordering_loses_no_job(prompts: list[tuple[int, ...]]) -> None:
    jobs = [job(*tokens, key=str(index)) for index, tokens in enumerate(prompts)]
    assert sorted(entry.key for entry in in_order(jobs, 4)) == sorted(entry.key for entry in jobs)


def test_a_shared_prefix_is_whole_chunks_and_leaves_the_last_token() -> None:
    shared = tuple(range(9))
    jobs = [job(*shared, 50, key="a"), job(*shared, 60, 61, key="b"), job(1, 2, 3, key="c")]
    assert shared_prefix(jobs, 4) == {"a": 8, "b": 8, "c": 0}
    exact = [job(*range(8), key="a"), job(*range(8), key="b")]
    assert shared_prefix(exact, 4) == {"a": 4, "b": 4}


def test_conditions_that_share_a_first_chunk_stay_apart_and_keep_their_own_prefix() -> None:
    opening, one, two = (7,) * 4, (1,) * 40, (2,) * 40
    jobs = [
        *(job(*opening, *one, *range(50, 51 + n), key=f"one{n}") for n in (1, 3)),
        *(job(*opening, *two, *range(50, 51 + n), key=f"two{n}") for n in (2, 4)),
        job(*opening, 9, key="outlier"),
    ]
    ordered = [entry.key for entry in in_order(jobs, 4)]
    assert ordered == ["two4", "two2", "one3", "one1", "outlier"]
    assert shared_prefix(jobs, 4) == dict.fromkeys(ordered[:4], 44) | {"outlier": 4}


def test_pairs_that_share_a_little_more_do_not_break_up_a_long_shared_prefix() -> None:
    shared = (7,) * 40
    jobs = [job(*shared, *(n,) * 4, last, 0, key=f"{n}{last}") for n in range(5) for last in (8, 9)]
    assert set(shared_prefix(jobs, 4).values()) == {40}


@given(st.lists(TOKENS.filter(bool), max_size=12), st.integers(1, 5))
def test_families_are_contiguous_and_prefixes_are_whole_shared_chunks(
    prompts: list[tuple[int, ...]], chunk: int
) -> None:
    jobs = [job(*tokens, key=str(index)) for index, tokens in enumerate(prompts)]
    ordered = in_order(jobs, chunk)
    for size, family in families(jobs, chunk):
        places = sorted(ordered.index(entry) for entry in family)
        assert places == list(range(places[0], places[0] + len(places))) if places else not jobs
        assert all(entry.tokens[:size] == family[0].tokens[:size] for entry in family)
    for entry in jobs:
        size = shared_prefix(jobs, chunk)[entry.key]
        assert size == whole_chunks(size, entry, chunk)
        assert not size or any(
            other is not entry and other.tokens[:size] == entry.tokens[:size] for other in jobs
        )


@given(st.lists(TOKENS.filter(bool), max_size=12), st.integers(1, 5))
def test_holding_prefixes_never_decodes_more_than_holding_what_all_share(
    prompts: list[tuple[int, ...]], chunk: int
) -> None:
    jobs = [job(*tokens, key=str(index)) for index, tokens in enumerate(prompts)]
    together = min((size for size, _ in families(jobs, chunk)), default=0)
    assert held(jobs, shared_prefix(jobs, chunk), chunk) <= held(
        jobs, dict.fromkeys((entry.key for entry in jobs), together), chunk
    )


def held(jobs: list[Job], prefixes: dict[str, int], chunk: int) -> int:
    """Tokens decoded where one state holds one prefix at a time."""
    decoded, state = 0, ()
    for entry in in_order(jobs, chunk):
        size = prefixes[entry.key]
        if size and state != entry.tokens[:size]:
            state = entry.tokens[:size]
            decoded += size
        decoded += len(entry.tokens) - size
    return decoded


def test_a_job_goes_where_its_prompt_is_cached() -> None:
    slots = [Slot(0, cached=(1, 2)), Slot(1, cached=(1, 3)), Slot(2)]
    assert choose_slot(slots, job(1, 3, 4)).index == 1
    assert choose_slot(slots, job(9, 9)).index == 2
    assert best_source(slots, job(1, 3, 4, 5), 2) == (slots[1], 2)


def test_seeds_depend_on_seed_epoch_and_prompt_and_zero_is_not_random() -> None:
    seeds = {derive_seed(s, e, t) for s in (0, 1) for e in (0, 1) for t in ((1,), (1, 2))}
    assert len(seeds) == 8
    assert derive_seed(0, 0, (1,)) == derive_seed(0, 0, (1,))
    assert all(0 <= seed < 0xFFFFFFFF for seed in seeds)
