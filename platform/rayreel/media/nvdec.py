"""Decode costly videos with NVDEC, the video decoder of NVIDIA's GPUs.

The same packets are decoded as on the CPU, and the decoded pictures are copied to the host, so that sampling, colours
and turns are those of the CPU. Starting NVDEC takes longer than decoding a short clip, so only videos are worth it that
take long on a CPU core: long groups of pictures, and large pictures.
"""

import os
from functools import cache
from pathlib import Path

from av.codec.hwaccel import HWAccel

from rayreel.failures import Rejected
from rayreel.media.clip import Samples
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_samples
from rayreel.media.decoder import needed_for
from rayreel.media.frames import stretches
from rayreel.media.keyframes import read_timeline
from rayreel.media.packets import Film
from rayreel.media.source import VideoFile

# Time that a CPU core takes per decoded pixel, by FFmpeg's names of the decoders; low, as for videos of few bits, so
# that no cheap video goes to the GPU. AV1 is missing, because dav1d decodes it, and has no NVDEC.
CPU_NS_PER_PIXEL = {"h264": 1.0, "hevc": 3.0, "vp9": 3.0}
# Starting a session of NVDEC takes a tenth to a fifth of a second.
WORTH_S = 0.5


def decode_with_nvdec(file: VideoFile, sampling: SamplingConfig, size: int, limits: Limits) -> Samples | Rejected:
    """Decode an open file as `decode_samples` does, with NVDEC if it is costly. Cannot run in the sandbox."""
    return decode_samples(file, sampling, size, limits, accelerate=nvdec_for)


def nvdec_for(film: Film, sampling: SamplingConfig) -> HWAccel | None:
    """Return NVDEC for a film that is worth it, else None. Streams that NVDEC cannot decode are decoded on the CPU."""
    return HWAccel("cuda", _device(), allow_software_fallback=True) if cpu_s(film, sampling) >= WORTH_S else None


def cpu_s(film: Film, sampling: SamplingConfig) -> float:
    """Return about how long a CPU core takes to decode the pictures that sampling needs; 0 for other codecs. Seconds.

    Reads packets only for films that would be worth it if all of their pictures were needed.
    """
    context = film.stream.codec_context
    picture_s = context.width * context.height * CPU_NS_PER_PIXEL.get(context.name, 0) / 1e9
    timeline = read_timeline(film)
    if timeline is None or timeline.readable_s * float(film.stream.average_rate or 30) * picture_s < WORTH_S:
        return 0.0
    pictures = 0
    for stretch in stretches(film, timeline, sampling):
        wanted = {tick for window in stretch.windows for tick in window}
        pictures += sum(last - first + 1 for first, last in needed_for(stretch.samples, wanted))
    return pictures * picture_s


@cache
def nvidia_gpus() -> int:
    """Return the number of NVIDIA GPUs that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip()])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _device() -> str:
    """Return a GPU for this process; decoders of a node are spread over its GPUs."""
    return str(os.getpid() % max(1, nvidia_gpus()))
