"""Frame networks in int8: quantised once by NNCF on frames of the generated sample, and cached by their identity.

Post-training quantisation (Jacob et al. 2018), symmetric for weights, for activations as they need. The first
convolution and depthwise ones stay in fp32.
"""

import contextlib
import hashlib
import io
import logging
import tempfile
from itertools import islice
from pathlib import Path

import numpy as np
import openvino as ov
import torch
from filelock import FileLock
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.plan import plan_sample
from rayreel.compat.nncf import import_nncf
from rayreel.compat.openvino import simplify
from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.openvino_runtime import OpenVINORuntime, compiled, converted, read
from rayreel.errors import RayreelError
from rayreel.media.render.draw import draw

log = logging.getLogger(__name__)

FRAMES = 96  # two of three to calibrate with, the others to check with
MIN_COSINE = 0.99


class InaccurateInt8(RayreelError):
    """A network in int8 gives other vectors than in fp32. The message states how similar they are."""


def start_int8(network: nn.Module, example: Tensor, identity: str, compute: Compute) -> OpenVINORuntime:
    """Load `network` for frames like `example`, [1, size, size, 3], in int8.

    The first call quantises it, which takes less than a minute, and caches it below `compute.int8` for the next.

    Raises:
        InaccurateInt8: the mean cosine with the vectors in fp32 is below 0.99.
    """
    assert compute.int8 is not None, "precision int8 has a cache"
    path = compute.int8 / f"{hashlib.sha256(identity.encode()).hexdigest()[:16]}.xml"
    compute.int8.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        if not path.is_file():
            _write(_quantised(network.eval(), example, identity), path)
    return _runtime(read(path), compute.threads)


def _quantised(network: nn.Module, example: Tensor, identity: str) -> ov.Model:
    """Return the network in int8. Raises InaccurateInt8."""
    model = converted(network, (example,))
    simplify(model)
    frames_NHWC = calibration_frames(FRAMES, example.shape[1])
    is_check = np.arange(len(frames_NHWC)) % 3 == 2
    quantised = _quantise(model, frames_NHWC[~is_check])
    expected, found = (torch.from_numpy(_run(m, frames_NHWC[is_check])) for m in (model, quantised))
    cosine = float(F.cosine_similarity(expected, found, dim=1).mean())
    if not cosine >= MIN_COSINE:
        raise InaccurateInt8(
            f"In int8 the vectors of {identity.partition('+')[0]} have a mean cosine of {cosine:.4f} with those in "
            f"fp32; at least {MIN_COSINE} is required. Set encoders.precision=auto."
        )
    log.info("quantised %s: its vectors have a mean cosine of %.4f with those in fp32", identity, cosine)
    return quantised


def _quantise(model: ov.Model, frames_NHWC: NDArray[np.uint8]) -> ov.Model:
    nncf = import_nncf()
    convolutions = [op for op in model.get_ordered_ops() if "Convolution" in op.get_type_name()]
    # For MobileNetV2: without the first one the cosine is 0.975 instead of 0.996; without depthwise ones 0.989.
    in_fp32 = nncf.IgnoredScope(
        names=[op.get_friendly_name() for op in convolutions[:1]], types=["GroupConvolution"], validate=False
    )
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        return nncf.quantize(
            model,
            nncf.Dataset(frames_NHWC, lambda frame: frame[None]),
            preset=nncf.QuantizationPreset.MIXED,
            target_device=nncf.TargetDevice.CPU,
            subset_size=len(frames_NHWC),
            ignored_scope=in_fp32,
        )


def _run(model: ov.Model, frames_NHWC: NDArray[np.uint8]) -> Vectors:
    return np.concatenate(list(_runtime(model, 1).run((frame[None],) for frame in frames_NHWC)))


def _runtime(model: ov.Model, threads: int) -> OpenVINORuntime:
    return OpenVINORuntime([compiled(model, torch.float32, threads)], threads)


def _write(model: ov.Model, path: Path) -> None:
    """Write the model's two files; the one that a reader looks for comes last."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".int8-") as folder:
        made = Path(folder) / path.name
        ov.save_model(model, made, compress_to_fp16=False)
        for suffix in (".bin", ".xml"):
            made.with_suffix(suffix).replace(path.with_suffix(suffix))


def calibration_frames(count: int, size: int) -> NDArray[np.uint8]:
    """Return one frame of each of `count` clips of the generated sample, [count, size, size, 3] RGB."""
    clips = plan_sample(SampleConfig(clips=count, categories=12))
    return np.stack([_square(next(islice(draw(clip), clip.seed % 40, None)), size) for clip in clips])


def _square(frame_HWC: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Scale the centre square of a frame."""
    side = min(frame_HWC.shape[:2])
    top, left = ((length - side) // 2 for length in frame_HWC.shape[:2])
    square_HWC = torch.from_numpy(frame_HWC[top : top + side, left : left + side].astype(np.float32))
    scaled_CHW = F.interpolate(square_HWC.permute(2, 0, 1)[None], size=size, mode="bilinear", antialias=True)[0]
    return scaled_CHW.permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
