"""Forward passes on OpenVINO: on an x86 CPU two to three times as fast as torch, with the same vectors.

One input a pass, one thread a pass, as many passes at once as there are threads. So a vector depends neither on its
neighbours nor on the number of threads, and no pass waits for threads to meet. ms per input in fp32 on one core with
AVX512, torch at its best batch size beside it: MobileNetV2 2.9 (9.3), ResNet-50 33 (68), Wav2Vec2 on 2 s 128 (250),
MiniLM 4.3 (10.2) on texts of 4 to 256 tokens and 2.4 (2.0) on titles, which gain from batches. Larger batches of frames
and OpenVINO's own hints gain nothing or lose; bf16 halves the time again, but takes MobileNetV2 to a cosine of 0.984.
"""

import threading
import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import openvino as ov
import torch
from openvino.frontend import FrontEndManager
from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder
from torch import Tensor, nn

from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import Inputs

PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16"}


class OpenVINORuntime:
    """A network, converted in memory and compiled for this CPU. Safe to call from several threads."""

    rows = 1

    def __init__(self, network: nn.Module, example: tuple[Tensor, ...], compute: Compute, *, any_length: bool) -> None:
        model = _converted(network.eval(), example)
        shapes = [[1, -1 if any_length else x.shape[1], *x.shape[2:]] for x in example]
        model.reshape(dict(zip(model.inputs, map(ov.PartialShape, shapes), strict=True)))
        properties = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[compute.dtype],
            "INFERENCE_NUM_THREADS": compute.threads,
            "NUM_STREAMS": compute.threads,
            # Two actors on one machine would pin themselves to the same first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._compiled = _core().compile_model(model, "CPU", properties)
        self._pool = ThreadPoolExecutor(compute.threads, thread_name_prefix="openvino")
        self._local = threading.local()

    def run(self, batches: Iterable[Inputs]) -> Iterable[Vectors]:
        """Map each batch of one input to [1, dim] float32."""
        return self._pool.map(self._forward, batches)

    def _forward(self, inputs: Inputs) -> Vectors:
        if not hasattr(self._local, "request"):
            self._local.request = self._compiled.create_infer_request()
        vector: Vectors = self._local.request.infer(list(inputs))[0]  # a copy
        return vector


@cache
def _core() -> ov.Core:
    return ov.Core()


def _converted(network: nn.Module, example: tuple[Tensor, ...]) -> ov.Model:
    """What `openvino.convert_model` does with a torch network, less its reports of use to an analytics service."""
    frontend = FrontEndManager().load_by_framework("pytorch")
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of tracing: branches taken and deprecation
        decoder = TorchScriptPythonDecoder(network, example_input=example, trace_kwargs={"check_trace": False})
        return frontend.convert(frontend.load(decoder))
