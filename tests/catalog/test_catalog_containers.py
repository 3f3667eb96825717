import av
import pytest

from rayreel.catalog.containers import SUFFIXES, SUFFIXES_OF
from rayreel.media.open import ALLOWED_FORMATS

# What FFmpeg names for the same containers, and a folder of videos does not mean.
SOUND = {".m4a", ".m4b", ".mka", ".isma", ".wma"}
OTHERS = {".avif", ".heic", ".heif", ".mks", ".ism"}
MUXERS = {
    "mov": ("mov", "mp4", "ipod", "3gp", "3g2", "f4v", "psp", "ismv"),
    "matroska": ("matroska", "webm"),
    "mpeg": ("mpeg", "vob", "dvd", "svcd"),
    "ogg": ("ogg", "ogv"),
}


def test_each_container_that_is_opened_has_suffixes_and_no_other() -> None:
    assert set(SUFFIXES_OF) == set(ALLOWED_FORMATS)
    assert len(SUFFIXES) == sum(map(len, SUFFIXES_OF.values())), "a suffix belongs to one container"


@pytest.mark.parametrize("container", ALLOWED_FORMATS)
def test_every_suffix_that_ffmpeg_knows_of_a_container_is_taken(container: str) -> None:
    known = set(av.ContainerFormat(container, "r").extensions)
    known |= {
        name for muxer in MUXERS.get(container, (container,)) for name in av.ContainerFormat(muxer, "w").extensions
    }
    assert {f".{name}" for name in known} - SOUND - OTHERS <= set(SUFFIXES_OF[container])
