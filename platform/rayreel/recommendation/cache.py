"""Cache of rendered answers, valid until the release changes."""

from collections.abc import Hashable
from threading import Lock

from cachetools import LRUCache

# An entry's key, its slots in the tables and Python's own objects.
ENTRY_BYTES = 400


class AnswerCache:
    """Least-recently-used cache of rendered answers for one state of the release. Thread-safe.

    `switch` to another state drops all of them. An answer computed for an earlier state, by a request that was in
    flight during the switch, is not stored.
    """

    def __init__(self, max_bytes: int) -> None:
        self._answers: LRUCache[Hashable, bytes] = LRUCache(max_bytes, _size)
        self._state: Hashable = None
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._answers)

    def switch(self, state: Hashable) -> None:
        """Cache answers for this state (`Live.state`) from now on."""
        with self._lock:
            if state != self._state:
                self._answers.clear()
                self._state = state

    def get(self, state: Hashable, key: Hashable) -> bytes | None:
        """Return the cached answer to a query in this state, or None."""
        with self._lock:
            return self._answers.get(key) if state == self._state else None

    def put(self, state: Hashable, key: Hashable, answer: bytes) -> None:
        """Store an answer, unless the state is not the current one or the answer is larger than the cache."""
        with self._lock:
            if state == self._state and _size(answer) <= self._answers.maxsize:
                self._answers[key] = answer


def _size(answer: bytes) -> int:
    return len(answer) + ENTRY_BYTES
