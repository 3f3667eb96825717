"""The token bucket."""

from rayreel.access.rate import TokenBucket


def test_a_burst_is_let_through_and_the_next_is_told_how_long_to_wait() -> None:
    bucket = TokenBucket(rate_per_s=2, burst=3)
    assert [bucket.take("a", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_who_waits_as_told_gets_through() -> None:
    bucket = TokenBucket(rate_per_s=3, burst=1)
    now = 0.0
    for _ in range(100):
        assert bucket.take("a", now) == 0
        now += bucket.take("a", now) + 1e-9


def test_over_a_long_time_only_the_rate_gets_through() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=5)
    passed = sum(bucket.take("a", step / 100) == 0 for step in range(1000))
    assert 100 <= passed <= 105


def test_callers_do_not_use_each_others_tokens() -> None:
    bucket = TokenBucket(rate_per_s=1, burst=1)
    assert (bucket.take("a", 0), bucket.take("b", 0), bucket.take("a", 0) > 0) == (0, 0, True)


def test_a_pause_never_saves_up_more_than_a_burst() -> None:
    bucket = TokenBucket(rate_per_s=100, burst=2)
    bucket.take("a", 0)
    assert [bucket.take("a", 1000) == 0 for _ in range(3)] == [True, True, False]
