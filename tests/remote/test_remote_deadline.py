"""The end of all waiting for one file."""

import pytest

from rayreel.remote.deadline import Deadline


def test_one_wait_takes_no_longer_than_what_is_left() -> None:
    deadline = Deadline(60)
    deadline.check()
    assert deadline.within(5) == 5
    assert 0 < deadline.within(600) <= 60
    assert 0 < deadline.within(None) <= 60


def test_after_the_end_nothing_waits() -> None:
    deadline = Deadline(-1)
    for wait in (deadline.check, lambda: deadline.within(5)):
        with pytest.raises(TimeoutError):
            wait()
