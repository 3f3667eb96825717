from pathlib import Path

import numpy as np
import pytest

from benchmarks.extraction import FRAMES, SIZE, Sampler, full_decode, opencv_seeks, sample_clips
from benchmarks.search import TOP, exact, synthetic_embeddings
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file


@pytest.mark.parametrize("sampler", [opencv_seeks, full_decode])
def test_the_peers_sample_the_frames_that_rayreel_samples(sampler: Sampler, tmp_path: Path) -> None:
    (video,) = sample_clips(tmp_path, 2)[:1]
    frames, clip = sampler(Path(video.uri)), decode_file(Path(video.uri), SamplingConfig(mode="exact"), SIZE, Limits())
    assert frames is not None and isinstance(clip, Clip)
    assert frames.shape == (FRAMES, SIZE, SIZE, 3) == clip.frames.shape
    assert np.abs(frames.astype(float) - clip.frames).mean() < 12


def test_exact_search_ranks_the_rows_that_pass_a_filter() -> None:
    embeddings_ND, queries_QD = synthetic_embeddings(rows=500, queries=3)
    some = np.arange(9, 500, 10)
    scores_N = embeddings_ND @ queries_QD[0]
    expected = [f"v{row}" for row in some[np.argsort(-scores_N[some])]][:TOP]
    assert exact(embeddings_ND, queries_QD[0], some) == expected
    assert exact(embeddings_ND, queries_QD[0], np.arange(500))[0] == f"v{scores_N.argmax()}"
