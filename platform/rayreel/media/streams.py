"""Choose a file's main video stream and its audio tracks."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.stream import VideoStream

log = logging.getLogger(__name__)

# Cover art, chapter and seek thumbnails.
_NOT_FILM = Disposition.attached_pic | Disposition.timed_thumbnails
# Parts of another stream, and additions to the film.
_ASIDE = Disposition.dependent | Disposition.still_image | Disposition.comment | Disposition.visual_impaired
_OTHER_SOUND = _ASIDE | Disposition.hearing_impaired | Disposition.karaoke | Disposition.clean_effects
_COUNTED = ("video", "audio", "subtitle")
_PROBED_PACKETS = 1000  # of all candidates together; a film that starts later in the file is not found
_ENCRYPTED = ("ASF_Protection_Type", "ASF_Key_ID")  # FFmpeg's names for the fields of ASF's encryption header


def pick_video(container: InputContainer) -> VideoStream | None:
    """Return the main video stream; None if there is none.

    Of several streams, prefers those with more than one packet, then with one (a poster), then the stream marked as
    default, the largest picture and the first in the file. May read packets; seek before you read further.
    """
    ranked = sorted(video_streams(container), key=_rank_video, reverse=True)
    return _first_alive(container, ranked) if len(ranked) > 1 else next(iter(ranked), None)


def video_streams(container: InputContainer) -> list[VideoStream]:
    """Return the video streams in the file's order, without cover art and thumbnails."""
    return [stream for stream in container.streams.video if not stream.disposition & _NOT_FILM]


def audio_streams(container: InputContainer) -> list[AudioStream]:
    """Return the audio tracks in the order in which a player prefers them: default first, commentary last."""
    return sorted(container.streams.audio, key=_rank_audio, reverse=True)


def count_streams(container: InputContainer) -> int:
    """Count video, audio and subtitle streams. Fonts, cover art and data tracks are never read, so they are free."""
    return sum(s.type in _COUNTED and not s.disposition & Disposition.attached_pic for s in container.streams)


def is_encrypted(container: InputContainer, stream: Stream) -> bool:
    """Whether the file header declares this stream encrypted (Matroska, ASF)."""
    return "enc_key_id" in stream.metadata or any(name in container.metadata for name in _ENCRYPTED)


def is_encrypted_packet(packet: "Packet[Any]") -> bool:
    """Whether a packet is encrypted (MP4's Common Encryption, which may start at any packet)."""
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
    """Return the first stream in rank with two packets, else the first with one, else the first."""
    found: Counter[int] = Counter()
    try:
        container.seek(0)
        for packet in container.demux(*ranked):
            found[packet.stream.index] += packet.size > 0
            if found[ranked[0].index] > 1 or found.total() > _PROBED_PACKETS:
                break
    except av.FFmpegError as error:  # choose by the packets read so far
        log.debug("probing ends early", extra={"file": container.name, "error": str(error)})
    return max(ranked, key=lambda stream: min(found[stream.index], 2))
