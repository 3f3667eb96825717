from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from rayreel.encoders.compute import compute_of
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import encoder_identities
from rayreel.encoders.presets import EncodersConfig
from rayreel.errors import RayreelError


@pytest.fixture
def torch_threads() -> Iterator[int]:
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_a_cpu_takes_one_input_a_pass_in_fp32_and_openvino_where_it_is_installed() -> None:
    compute = compute_of(EncodersConfig(device="cpu", batch=64))
    assert (compute.rows, compute.dtype) == (1, torch.float32)
    assert compute.runtime == ("openvino" if find_spec("openvino") else "torch")


def test_only_where_the_precision_is_left_open_may_parts_go_below_it() -> None:
    assert compute_of(EncodersConfig(device="cpu")).mixed
    assert not compute_of(EncodersConfig(device="cpu", precision="fp32")).mixed


def test_another_device_takes_whole_batches_on_torch() -> None:
    config = EncodersConfig(device="mps", batch=64)  # torch names a device it does not have
    assert (compute_of(config).runtime, compute_of(config).rows) == ("torch", 64)


def test_what_a_device_cannot_do_is_refused_with_the_way_out() -> None:
    with pytest.raises(RayreelError, match="Set device cpu"):
        compute_of(EncodersConfig(device="mps", runtime="openvino"))
    with pytest.raises(RayreelError, match="Choose auto"):
        compute_of(EncodersConfig(device="cpu", precision="fp16"))


def test_threads_are_torchs_own_unless_they_are_configured(torch_threads: int) -> None:
    assert compute_of(EncodersConfig(device="cpu")).threads == torch_threads
    assert compute_of(EncodersConfig(device="cpu", threads=3)).threads == torch.get_num_threads() == 3


def test_runtime_batch_and_threads_are_no_part_of_an_identity_but_bf16_is(tmp_path: Path) -> None:
    plain, elsewhere, bf16 = (
        encoder_identities(EncodersConfig(random_weights=True, **options), tmp_path)
        for options in ({}, {"runtime": "torch", "batch": 3, "threads": 1, "precision": "fp16"}, {"precision": "bf16"})
    )
    assert plain == elsewhere
    assert {modality for modality in Modality if plain[modality] != bf16[modality]} == {Modality.VISUAL, Modality.TEXT}
