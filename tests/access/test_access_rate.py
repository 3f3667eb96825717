"""The token bucket."""

from rayreel.access.rate import TokenBucket


def test_a_burst_is_accepted_and_the_next_request_gets_the_time_to_wait() -> None:
    bucket = TokenBucket(rate_per_s=2, burst=3)
    assert [bucket.take("a", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_caller_that_waits_as_required_is_accepted() -> None:
    bucket = TokenBucket(rate_per_s=3, burst=1)
    now = 0.0
    for _ in range(100):
        assert bucket.take("a", now) == 0
        now += bucket.take("a", now) + 1e-9


def test_over_a_long_time_requests_are_accepted_at_the_rate() -> None:
    bucket = TokenBucket(rate_per_s=10, burst=5)
    passed = sum(bucket.take("a", step / 100) == 0 for step in range(1000))
    assert 100 <= passed <= 105


def test_each_caller_has_its_own_tokens() -> None:
    bucket = TokenBucket(rate_per_s=1, burst=1)
    assert (bucket.take("a", 0), bucket.take("b", 0), bucket.take("a", 0) > 0) == (0, 0, True)


def test_a_pause_accumulates_at_most_one_burst() -> None:
    bucket = TokenBucket(rate_per_s=100, burst=2)
    bucket.take("a", 0)
    assert [bucket.take("a", 1000) == 0 for _ in range(3)] == [True, True, False]
