"""How the networks are run: device, runtime, precision, threads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.passes import PassMeter, candidates
from rayreel.errors import RayreelError

FEW = 32  # rows of a pass where queries are encoded one by one
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, slots=True)
class Compute:
    """An encoder configuration with every `auto` resolved for this machine.

    Every forward pass takes exactly `rows` inputs: kernels differ with the shape of a batch, and a video's vectors must
    be the same to the last bit whichever videos share its batch, or a resumed extraction would give another store. On
    a CPU `rows` is 1: frames and sound are fastest that way, and a video has only one text. On CUDA the rows are chosen
    among `candidates` by a measurement, which is kept in the folder `choices`; `meter` adds up what passes cost there.

    `mixed`: a runtime may go below `dtype` in the parts of a network that tolerate it. `int8`: the frame encoder is
    quantised, and kept in this folder.
    """

    device: torch.device
    runtime: Literal["torch", "openvino"] = "torch"
    dtype: torch.dtype = torch.float32
    mixed: bool = False
    int8: Path | None = None
    rows: int = 1
    threads: int = 1
    compile: bool = False
    candidates: Sequence[int] = (1,)
    choices: Path | None = None
    meter: PassMeter = field(default_factory=PassMeter)


def compute_of(
    config: EncodersConfig, cache_dir: Path | None = None, *, most: int = 0, meter: PassMeter | None = None
) -> Compute:
    """Resolve a configuration. Its `threads` are set for torch in the whole process. Raises RayreelError.

    `cache_dir` keeps what is computed once, such as networks in int8. `most`: the inputs of a large call, among which
    the rows of a pass are chosen; 0: passes are small, as for single queries.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    device = device_named(config.device)
    runtime = _runtime(config.runtime, device)
    int8 = config.precision == "int8"
    if int8 and runtime != "openvino":
        raise RayreelError("precision int8 runs on a CPU with OpenVINO. Choose auto, or device cpu and runtime auto.")
    assert cache_dir is not None or not int8, "precision int8 needs a cache"
    return Compute(
        device,
        runtime,
        torch.float32 if int8 else _dtype(config.precision, device),
        mixed=config.precision in {"auto", "int8"},
        int8=cache_dir / "int8" if int8 and cache_dir else None,
        rows=1 if device.type == "cpu" else config.batch or FEW,
        threads=torch.get_num_threads(),  # OMP_NUM_THREADS, which Ray sets to an actor's num_cpus, or the affinity
        compile=config.compile,
        candidates=candidates(config.batch or FEW, 0 if config.batch else most),
        choices=cache_dir / "passes" if cache_dir else None,
        meter=meter or PassMeter(),
    )


def _runtime(name: str, device: torch.device) -> Literal["torch", "openvino"]:
    if name == "torch" or (name == "auto" and device.type != "cpu"):
        return "torch"
    if device.type != "cpu":
        raise RayreelError(f"runtime openvino runs on the CPU, not on {device}. Set device cpu, or runtime auto.")
    if find_spec("openvino") is not None:
        return "openvino"
    if name == "auto":
        return "torch"
    raise RayreelError("runtime openvino is not installed. Run pip install openvino, or set runtime auto.")


def _dtype(precision: str, device: torch.device) -> torch.dtype:
    if precision == "auto":
        return torch.float16 if device.type == "cuda" else torch.float32
    if precision == "fp16" and device.type == "cpu":
        raise RayreelError("precision fp16 is not supported on a CPU. Choose auto, fp32 or bf16, or a GPU.")
    return DTYPES[precision]


def quantiser() -> str:
    """Return the name and version of the library that quantises networks. Raises RayreelError if it is missing."""
    try:
        return f"nncf{version('nncf')}"
    except PackageNotFoundError:
        raise RayreelError(
            "precision int8 needs NNCF. Run pip install 'rayreel[int8]', or set precision auto."
        ) from None


def best_device() -> torch.device:
    """Return the fastest device of this machine: CUDA, then Apple's MPS, then the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def device_named(name: str) -> torch.device:
    """Return the device for a configured name; `auto` is the best one. Raises RayreelError if it is not available."""
    if name == "auto":
        return best_device()
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise RayreelError(f"device {name}: no usable CUDA device on this machine. Choose auto or cpu.")
    return torch.device(name)
