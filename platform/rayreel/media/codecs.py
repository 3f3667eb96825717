"""The decoders that may run.

FFmpeg has about five hundred, and most of its memory-safety bugs were in rarely used ones.
"""

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from rayreel.failures import Reason, Rejected

# FFmpeg's names of the decoders for what phones, cameras, browsers, editors and screen recorders write, and for what
# older collections hold in the allowed containers.
VIDEO_DECODERS = (
    *("h264", "hevc", "vvc", "vp8", "vp9", "libdav1d", "av1"),
    *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "wmv3", "vc1"),
    *("h263", "h263i", "flv", "vp6", "vp6a", "vp6f", "theora", "svq1", "svq3", "cinepak", "mjpeg", "dvvideo"),
    *("prores", "dnxhd", "cfhd", "ffv1", "huffyuv", "ffvhuff", "utvideo", "qtrle", "png", "rawvideo", "v210"),
)
AUDIO_DECODERS = (
    *("aac", "aac_latm", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus", "libopus", "vorbis"),
    *("flac", "alac", "tta", "wavpack", "ac3", "eac3", "dca", "truehd", "mlp"),
    *("wmav1", "wmav2", "wmapro", "wmalossless", "wmavoice"),
    *("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "speex", "nellymoser", "qdm2", "s302m"),
    *("adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "pcm_alaw", "pcm_mulaw", "pcm_bluray", "pcm_dvd"),
    *("pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_s8", "pcm_u8", "pcm_s16be", "pcm_s16le"),
    *("pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_u16be", "pcm_u16le"),
)
# libavformat needs this list too: it decodes a little of each stream when it opens a file.
CODEC_WHITELIST = ",".join((*VIDEO_DECODERS, *AUDIO_DECODERS))


def refuse_video(stream: VideoStream) -> Rejected | None:
    """Return why a video stream may not be decoded; None if it may."""
    name = decoder_of(stream)
    if name in VIDEO_DECODERS:
        return None
    return Rejected(Reason.UNSUPPORTED_CODEC, f"unsupported video codec: {name or 'unknown'}; convert it to H.264")


def refuse_audio(container: InputContainer) -> Rejected | None:
    """Return why no audio track may be decoded; None if one may, or if there is no audio.

    The whole video is refused: without its audio it would be stored as a silent video.
    """
    names = [decoder_of(stream) for stream in container.streams.audio]
    if not names or any(name in AUDIO_DECODERS for name in names):
        return None
    found = ", ".join(name or "unknown" for name in names)
    return Rejected(Reason.UNSUPPORTED_CODEC, f"unsupported audio codec: {found}; convert it to AAC or remove it")


def decoder_of(stream: VideoStream | AudioStream) -> str | None:
    """Return the name of the decoder that FFmpeg chose; None if it has none."""
    return stream.codec_context.name if stream.codec_context is not None else None
