"""Check the sha256 of downloaded files against a published value or that of the first download."""

import hashlib
import threading
from pathlib import Path

NAME = "SHA256SUMS"


class Sums:
    """A folder's SHA256SUMS file (format of `sha256sum`): the checksums of files without a published sha256.

    Trust on first use: detects that a file changed later, not whether the first download was genuine.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self._known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        self._lock = threading.Lock()

    def mismatch(self, path: Path, name: str, published: str = "") -> str:
        """Return how the sha256 of `path` differs from the published or recorded one, or "" if it matches.

        If there is neither, the file's own sha256 is recorded under `name`.
        """
        with path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found == (expected := published or self._recorded(name, found)):
            return ""
        origin = "the published value" if published else f"the value in {NAME} from the first download"
        return f"its sha256 is {found}, expected {expected}, {origin}"

    def _recorded(self, name: str, found: str) -> str:
        with self._lock:
            if name not in self._known:
                self._known[name] = found
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"{found}  {name}\n")
            return self._known[name]
