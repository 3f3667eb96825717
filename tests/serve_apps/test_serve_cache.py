from concurrent.futures import ThreadPoolExecutor

import numpy as np

from serve_apps.state import ENTRY_BYTES, AnswerCache

STATE, NEXT = (1, "snapshot", "part-1"), (1, "snapshot", "part-2")


def cache(entries: int) -> AnswerCache:
    """Return a cache with room for `entries` answers of ten bytes."""
    made = AnswerCache(entries * (ENTRY_BYTES + 10))
    made.switch(STATE)
    return made


def test_the_least_recently_used_answer_is_dropped_first() -> None:
    answers = cache(2)
    for key in ("a", "b"):
        answers.put(STATE, key, b"0123456789")
    assert answers.get(STATE, "a") == b"0123456789"
    answers.put(STATE, "c", b"0123456789")
    assert [answers.get(STATE, key) is not None for key in "abc"] == [True, False, True]


def test_the_cache_never_exceeds_its_limit_of_bytes() -> None:
    rng, answers = np.random.default_rng(0), cache(5)
    for _ in range(500):
        answers.put(STATE, int(rng.integers(20)), bytes(int(rng.integers(3 * ENTRY_BYTES))))
        held = [answer for answer in (answers.get(STATE, key) for key in range(20)) if answer is not None]
        assert sum(len(answer) + ENTRY_BYTES for answer in held) <= 5 * (ENTRY_BYTES + 10)
        assert len(held) == len(answers)
    assert held
    answers.put(STATE, "huge", bytes(10_000))
    assert answers.get(STATE, "huge") is None
    assert len(answers) == len(held)


def test_a_switch_drops_all_answers_and_late_answers_for_the_previous_state() -> None:
    answers = cache(5)
    answers.put(STATE, "a", b"old")
    answers.switch(STATE)
    assert answers.get(STATE, "a") == b"old"
    answers.switch(NEXT)
    answers.put(STATE, "b", b"late")
    assert [answers.get(state, key) for state in (STATE, NEXT) for key in "ab"] == [None] * 4
    answers.put(NEXT, "a", b"new")
    assert answers.get(STATE, "a") is None
    assert answers.get(NEXT, "a") == b"new"


def test_the_cache_is_thread_safe() -> None:
    answers = cache(8)

    def use(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for key in rng.integers(30, size=2000).tolist():
            answers.put(STATE, key, str(key).encode())
            assert answers.get(STATE, key) in {None, str(key).encode()}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(use, range(4)))
    assert 0 < len(answers) <= 8
