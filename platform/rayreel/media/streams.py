"""Which of a file's streams is its film, and which its sound."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

# Pictures about the film: cover art, chapter and seek thumbnails.
_NOT_FILM = Disposition.attached_pic | Disposition.timed_thumbnails
# Parts of another stream, or beside the film.
_ASIDE = Disposition.dependent | Disposition.still_image | Disposition.comment | Disposition.visual_impaired
_OTHER_SOUND = _ASIDE | Disposition.hearing_impaired | Disposition.karaoke | Disposition.clean_effects
_COUNTED = ("video", "audio", "subtitle")
_PROBED_PACKETS = 1000  # of the other streams; a film that begins later than these is not waited for
_ENCRYPTED = ("ASF_Protection_Type", "ASF_Key_ID")  # what FFmpeg calls the fields of ASF's encryption header


def pick_video(container: InputContainer) -> VideoStream | None:
    """The stream of the film; None when there is none.

    Of several: one that has packets, marked as default, with the largest picture, the first. One of a single picture
    (a poster) gives way to one of more. May read some packets; seek before reading on.
    """
    ranked = sorted(video_streams(container), key=_rank_video, reverse=True)
    return _first_alive(container, ranked) if len(ranked) > 1 else next(iter(ranked), None)


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Streams that may be a film, in the file's order: without cover art and thumbnails."""
    return [stream for stream in container.streams.video if not stream.disposition & _NOT_FILM]


def audio_streams(container: InputContainer) -> list[AudioStream]:
    """Sound tracks, the one that a player would play first: the default one, no commentary."""
    return sorted(container.streams.audio, key=_rank_audio, reverse=True)


def count_streams(container: InputContainer) -> int:
    """Streams of pictures, sound and text. Attached fonts, cover art and data tracks cost nothing to leave alone."""
    return sum(s.type in _COUNTED and not s.disposition & Disposition.attached_pic for s in container.streams)


def is_encrypted(container: InputContainer, stream: Stream) -> bool:
    """Whether the file says that this stream cannot be read without a key (Matroska, ASF)."""
    return "enc_key_id" in stream.metadata or any(name in container.metadata for name in _ENCRYPTED)


def is_encrypted_packet(packet: "Packet[Any]") -> bool:
    """Whether a packet's content is encrypted (MP4's Common Encryption, which may begin at any packet)."""
    return packet.has_sidedata("encryption_info")


def _rank_video(stream: VideoStream) -> tuple[bool, bool, bool, int, int]:
    context = stream.codec_context
    pixels = context.width * context.height if context is not None else 0
    default = bool(stream.disposition & Disposition.default)
    return context is not None, not stream.disposition & _ASIDE, default, pixels, -stream.index


def _rank_audio(stream: AudioStream) -> tuple[bool, bool, bool, int]:
    decodes = stream.codec_context is not None
    return decodes, not stream.disposition & _OTHER_SOUND, bool(stream.disposition & Disposition.default), -stream.index


def _first_alive(container: InputContainer, ranked: Sequence[VideoStream]) -> VideoStream:
    """The first by rank that moves; else the first with any packet; else the first."""
    found: Counter[int] = Counter()
    try:
        container.seek(0)
        for packet in container.demux(*ranked):
            found[packet.stream.index] += packet.size > 0
            if found[ranked[0].index] > 1 or found.total() > _PROBED_PACKETS:
                break
    except av.FFmpegError:  # what was found until here decides
        pass
    return max(ranked, key=lambda stream: min(found[stream.index], 2))
