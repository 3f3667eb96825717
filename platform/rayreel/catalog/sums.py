"""The sha256 of downloaded files, published or remembered."""

import hashlib
import threading
from pathlib import Path

NAME = "SHA256SUMS"


class Sums:
    """A folder's SHA256SUMS, in the form of `sha256sum`: what each file without a published sha256 was at first.

    Trust on first use: it shows that a file changed later, not that the first one was genuine.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else []
        self._known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        self._writing = threading.Lock()

    def fault(self, path: Path, name: str, published: str = "") -> str:
        """Say how the sha256 of `path` differs from the published or remembered one; empty where it does not.

        Where there is neither, the file's own is remembered under `name`.
        """
        with path.open("rb") as content:
            found = hashlib.file_digest(content, "sha256").hexdigest()
        if found == (expected := published or self._remembered(name, found)):
            return ""
        origin = "which is published" if published else f"which {NAME} has from the first time"
        return f"its sha256 is {found}, not {expected}, {origin}"

    def _remembered(self, name: str, found: str) -> str:
        with self._writing:
            if name not in self._known:
                self._known[name] = found
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(f"{found}  {name}\n")
            return self._known[name]
