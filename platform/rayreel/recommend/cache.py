"""Answers that were given before, as long as nothing has changed."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

# An entry's key, its slot in the table and Python's own objects.
ENTRY_BYTES = 400


class AnswerCache:
    """Rendered answers of one state of the release, the least recently used dropped first. Safe between threads.

    `switch` to another state drops all of them. An answer made for a former state, by a request that was on its way
    meanwhile, is neither kept nor mixed up.
    """

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self._answers: OrderedDict[Hashable, bytes] = OrderedDict()
        self._max_bytes, self._bytes = max_bytes, 0
        self._state: Hashable = None
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._answers)

    def switch(self, state: Hashable) -> None:
        """Keep answers of this state (`Live.state`) from now on."""
        with self._lock:
            if state != self._state:
                self._answers.clear()
                self._state, self._bytes = state, 0

    def get(self, state: Hashable, key: Hashable) -> bytes | None:
        """The answer to a query in this state, or None."""
        with self._lock:
            answer = self._answers.get(key) if state == self._state else None
            if answer is not None:
                self._answers.move_to_end(key)
            return answer

    def put(self, state: Hashable, key: Hashable, answer: bytes) -> None:
        """Keep an answer; nothing happens when the state is not that of now, or the answer larger than the cache."""
        size = len(answer) + ENTRY_BYTES
        with self._lock:
            if state != self._state or size > self._max_bytes:
                return
            former = self._answers.pop(key, None)
            self._bytes += size - (0 if former is None else len(former) + ENTRY_BYTES)
            self._answers[key] = answer
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._answers.popitem(last=False)[1]) + ENTRY_BYTES
