"""Groups of clips that must stay on one side of a split because they are cut from one recording."""

import re
from pathlib import PurePosixPath

from rayreel.catalog.video import CatalogVideo

# UCF101 names its files v_Class_gNN_cMM: clip MM of recording NN (Soomro et al. 2012, section 3).
_PIECE = re.compile(r"(v_.+_g\d+)_c\d+")


def source_of(video: CatalogVideo, group_by: str) -> str | None:
    """Return the video's `group_by` value or, without one, the recording according to the file name, if any."""
    value = {**video.model_dump(exclude={"extra"}), **video.extra}.get(group_by)
    if value not in {None, ""}:
        return str(value)
    for name in (video.video_id, video.uri.partition("?")[0]):
        path = PurePosixPath(name)
        for part in (path.name, path.stem):
            if found := _PIECE.fullmatch(part):
                return found[1]
    return None
