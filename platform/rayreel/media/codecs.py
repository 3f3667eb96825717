"""Which decoders may run. FFmpeg has five hundred, and most of its memory faults were in those nobody uses."""

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from rayreel.failures import Reason, Rejected

# Names of FFmpeg's decoders. What phones, cameras, browsers, editors and screen recorders write, and what old
# collections hold in the containers that are opened.
VIDEO_DECODERS = (
    *("h264", "hevc", "vvc", "vp8", "vp9", "libdav1d", "av1"),
    *("mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4", "wmv1", "wmv2", "wmv3", "vc1"),
    *("h263", "h263i", "flv", "vp6", "vp6a", "vp6f", "theora", "svq1", "svq3", "cinepak", "mjpeg", "dvvideo"),
    *("prores", "dnxhd", "cfhd", "ffv1", "huffyuv", "ffvhuff", "utvideo", "qtrle", "png", "rawvideo"),
    *("v210",),
)
AUDIO_DECODERS = (
    *("aac", "aac_latm", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus", "libopus", "vorbis"),
    *(
        "flac",
        "alac",
        "tta",
        "wavpack",
        "ac3",
        "eac3",
        "dca",
        "truehd",
        "mlp",
        "wmav1",
        "wmav2",
        "wmapro",
        "wmalossless",
        "wmavoice",
    ),
    *("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "speex", "nellymoser", "qdm2", "s302m"),
    *("adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "adpcm_swf", "pcm_alaw", "pcm_mulaw", "pcm_bluray", "pcm_dvd"),
    *("pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_s8", "pcm_u8", "pcm_s16be", "pcm_s16le"),
    *("pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_u16be", "pcm_u16le"),
)
# For libavformat, which decodes a little of each stream while it opens a file.
CODEC_WHITELIST = ",".join((*VIDEO_DECODERS, *AUDIO_DECODERS))


def refuse_video(stream: VideoStream) -> Rejected | None:
    """Why the pictures of a stream may not be decoded; None where they may."""
    name = decoder_of(stream)
    if name in VIDEO_DECODERS:
        return None
    found = f"its pictures are {name}, which is not decoded" if name else "no decoder for the video stream"
    return Rejected(Reason.UNSUPPORTED_CODEC, f"{found}; convert the video to H.264")


def refuse_audio(container: InputContainer) -> Rejected | None:
    """Why no sound track may be decoded; None where one may, or where there is no sound.

    The video is refused with its sound: stored without, it would count as one that is silent.
    """
    names = [decoder_of(stream) for stream in container.streams.audio]
    if not names or any(name in AUDIO_DECODERS for name in names):
        return None
    found = ", ".join(name or "unknown" for name in names)
    return Rejected(Reason.UNSUPPORTED_CODEC, f"its sound is {found}; convert the sound to AAC, or remove it")


def decoder_of(stream: VideoStream | AudioStream) -> str | None:
    """The name of the decoder that FFmpeg chose; None where it has none."""
    return stream.codec_context.name if stream.codec_context else None
