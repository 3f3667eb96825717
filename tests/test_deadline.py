"""The wall-clock limit on the work for one file."""

import pytest

from rayreel.deadline import Deadline


def test_a_call_gets_its_own_timeout_or_the_time_that_is_left() -> None:
    deadline = Deadline(60)
    deadline.check()
    assert deadline.within(5) == 5
    assert 0 < deadline.within(600) <= 60
    assert 0 < deadline.within(None) <= 60


def test_nothing_may_wait_after_the_deadline() -> None:
    deadline = Deadline(-1)
    for wait in (deadline.check, lambda: deadline.within(5)):
        with pytest.raises(TimeoutError, match="took longer than -1 s"):
            wait()
