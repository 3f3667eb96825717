import av
import pytest

from rayreel.catalog.containers import SUFFIXES, SUFFIXES_OF
from rayreel.media.open import ALLOWED_FORMATS

# Suffixes that FFmpeg lists for these containers, but which are not those of videos.
SOUND = {".m4a", ".m4b", ".mka", ".isma", ".wma"}
OTHERS = {".avif", ".heic", ".heif", ".mks", ".ism"}
MUXERS = {
    "mov": ("mov", "mp4", "ipod", "3gp", "3g2", "f4v", "psp", "ismv"),
    "matroska": ("matroska", "webm"),
    "mpeg": ("mpeg", "vob", "dvd", "svcd"),
    "ogg": ("ogg", "ogv"),
}


def test_exactly_the_allowed_containers_have_suffixes() -> None:
    assert set(SUFFIXES_OF) == set(ALLOWED_FORMATS)
    assert len(SUFFIXES) == sum(map(len, SUFFIXES_OF.values())), "a suffix belongs to one container"


@pytest.mark.parametrize("container", ALLOWED_FORMATS)
def test_every_suffix_that_ffmpeg_lists_for_a_container_is_accepted(container: str) -> None:
    known = set(av.ContainerFormat(container, "r").extensions)
    known |= {
        name for muxer in MUXERS.get(container, (container,)) for name in av.ContainerFormat(muxer, "w").extensions
    }
    assert {f".{name}" for name in known} - SOUND - OTHERS <= set(SUFFIXES_OF[container])
