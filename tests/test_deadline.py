"""The wall-clock limit on the work for one file."""

import pytest

from rayreel.deadline import Deadline


def test_a_call_gets_the_smaller_of_its_timeout_and_the_remaining_time() -> None:
    deadline = Deadline(60)
    deadline.check()
    assert deadline.within(5) == 5
    assert 0 < deadline.within(600) <= 60
    assert 0 < deadline.within(None) <= 60


def test_waiting_after_the_deadline_raises_timeout_error() -> None:
    deadline = Deadline(-1)
    for wait in (deadline.check, lambda: deadline.within(5)):
        with pytest.raises(TimeoutError, match="took longer than -1 s"):
            wait()
