"""Cache of rendered answers, valid until the release changes."""

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock

# An entry's key, its slot in the table and Python's own objects.
ENTRY_BYTES = 400


class AnswerCache:
    """Least-recently-used cache of rendered answers for one state of the release. Thread-safe.

    `switch` to another state drops all of them. An answer computed for an earlier state, by a request that was in
    flight during the switch, is not stored.
    """

    def __init__(self, max_bytes: int = 64 << 20) -> None:
        self._answers: OrderedDict[Hashable, bytes] = OrderedDict()
        self._max_bytes, self._bytes = max_bytes, 0
        self._state: Hashable = None
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._answers)

    def switch(self, state: Hashable) -> None:
        """Cache answers for this state (`Live.state`) from now on."""
        with self._lock:
            if state != self._state:
                self._answers.clear()
                self._state, self._bytes = state, 0

    def get(self, state: Hashable, key: Hashable) -> bytes | None:
        """Return the cached answer to a query in this state, or None."""
        with self._lock:
            answer = self._answers.get(key) if state == self._state else None
            if answer is not None:
                self._answers.move_to_end(key)
            return answer

    def put(self, state: Hashable, key: Hashable, answer: bytes) -> None:
        """Store an answer, unless the state is not the current one or the answer is larger than the cache."""
        size = len(answer) + ENTRY_BYTES
        with self._lock:
            if state != self._state or size > self._max_bytes:
                return
            former = self._answers.pop(key, None)
            self._bytes += size - (0 if former is None else len(former) + ENTRY_BYTES)
            self._answers[key] = answer
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._answers.popitem(last=False)[1]) + ENTRY_BYTES
