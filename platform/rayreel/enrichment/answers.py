"""Answers that were paid for, one file each below `enrichment/`: a killed run loses none, and none is asked twice."""

import logging
from dataclasses import dataclass

from rayreel.enrichment.answer import Enrichment, read_answer
from rayreel.storage import Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answers:
    """The valid answers below a storage root, by key."""

    storage: Storage

    def read(self, key: str) -> Enrichment | None:
        """Return an answer; None if there is none, or if its file is damaged."""
        content = self.storage.read(self._path(key))
        if content is None:
            return None
        try:
            return read_answer(content.decode())
        except ValueError:
            log.error("damaged, asked again: %s", self._path(key))
            return None

    def write(self, key: str, answer: Enrichment) -> None:
        """Keep an answer durably. Raises StorageFull."""
        self.storage.write(self._path(key), answer.model_dump_json().encode())

    def _path(self, key: str) -> str:
        return self.storage.path("enrichment", key[:2], f"{key}.json")
