from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from rayreel.encoders.compute import compute_of
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import encoder_identities
from rayreel.errors import RayreelError


@pytest.fixture
def torch_threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_a_cpu_runs_one_input_per_pass_in_fp32_with_openvino_if_installed() -> None:
    compute = compute_of(EncodersConfig(device="cpu", batch=64))
    assert (compute.rows, compute.dtype) == (1, torch.float32)
    assert compute.runtime == ("openvino" if find_spec("openvino") else "torch")


def test_mixed_precision_is_used_only_with_precision_auto() -> None:
    assert compute_of(EncodersConfig(device="cpu")).mixed
    assert not compute_of(EncodersConfig(device="cpu", precision="fp32")).mixed


def test_other_devices_run_batches_with_torch() -> None:
    config = EncodersConfig(device="mps", batch=64)  # torch accepts the name of a missing device
    assert (compute_of(config).runtime, compute_of(config).rows) == ("torch", 64)


def test_unsupported_device_settings_are_rejected_with_a_remedy() -> None:
    with pytest.raises(RayreelError, match="Set device cpu"):
        compute_of(EncodersConfig(device="mps", runtime="openvino"))
    with pytest.raises(RayreelError, match="Choose auto"):
        compute_of(EncodersConfig(device="cpu", precision="fp16"))


def test_threads_default_to_torchs_own(torch_threads: int) -> None:
    assert compute_of(EncodersConfig(device="cpu")).threads == torch_threads
    assert compute_of(EncodersConfig(device="cpu", threads=3)).threads == torch.get_num_threads() == 3


def test_only_bf16_and_not_runtime_batch_or_threads_is_part_of_the_identity(tmp_path: Path) -> None:
    plain, elsewhere, bf16 = (
        encoder_identities(EncodersConfig(random_weights=True, **options), tmp_path)
        for options in ({}, {"runtime": "torch", "batch": 3, "threads": 1, "precision": "fp16"}, {"precision": "bf16"})
    )
    assert plain == elsewhere
    assert {modality for modality in Modality if plain[modality] != bf16[modality]} == {Modality.VISUAL, Modality.TEXT}
