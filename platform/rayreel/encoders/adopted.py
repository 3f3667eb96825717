"""The encoders that `rayreel encoders adopt` chose for a storage root: the default of every later command."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from rayreel.encoders.registry import Modality

if TYPE_CHECKING:
    from rayreel.storage import Storage

ADOPTED = "releases/adopted.json"


class AdoptedEncoders(BaseModel):
    """Names of the encoders, the key of their features, and the release that was made with them."""

    model_config = ConfigDict(frozen=True)

    names: dict[Modality, str]
    encoder_key: str
    release: int

    def keep(self, storage: "Storage") -> None:
        """Make them the default below this storage root."""
        storage.write(storage.path(ADOPTED), self.model_dump_json().encode())


def adopted_encoders(root: str) -> AdoptedEncoders | None:
    """Return the encoders adopted below a storage root; None if its encoders are those of the settings."""
    if "://" in root:
        from rayreel.storage import Storage

        storage = Storage(root)
        content = storage.read_json(storage.path(ADOPTED))
    else:  # without the seconds that the first use of an object store takes
        file = Path(root).expanduser() / ADOPTED
        content = json.loads(file.read_text()) if file.is_file() else None
    return None if content is None else AdoptedEncoders.model_validate(content)


def forget_adopted(storage: "Storage", encoder_key: str) -> bool:
    """Forget adopted encoders if a release of other features serves now; returns whether there were any."""
    found = adopted_encoders(storage.root)
    if found is None or found.encoder_key == encoder_key:
        return False
    storage.filesystem.delete_file(storage.path(ADOPTED))
    return True
