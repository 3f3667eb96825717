"""Which clips must stay on one side of a split: those cut from one recording."""

import re
from pathlib import PurePosixPath

from rayreel.catalog.video import CatalogVideo

# UCF101 names its files v_Class_gNN_cMM: MM are pieces of the one recording NN (Soomro et al. 2012, section 3).
_PIECE = re.compile(r"(v_.+_g\d+)_c\d+")


def source_of(video: CatalogVideo, group_by: str) -> str | None:
    """The catalog's own `group_by` column or, where it has none, what the file is a piece of by its name."""
    given = {**video.model_dump(exclude={"extra"}), **video.extra}.get(group_by)
    if given not in {None, ""}:
        return str(given)
    for name in (video.video_id, video.uri.partition("?")[0]):
        path = PurePosixPath(name)
        for part in (path.name, path.stem):
            if found := _PIECE.fullmatch(part):
                return found[1]
    return None
