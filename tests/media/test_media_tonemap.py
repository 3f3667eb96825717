"""Tone mapping from high dynamic range to standard range."""

import numpy as np
import pytest

from hdr_signals import TO_2020, Signal, hlg, pq, shown
from rayreel.media.tonemap import is_standard, to_standard

PQ, HLG, SDR = 16, 18, 1
BT709, BT2020, P3 = 1, 9, 12
COLOURS = np.array(
    [[255, 255, 255], [128, 128, 128], [30, 30, 30], [200, 30, 30], [40, 160, 60], [30, 60, 220], [230, 200, 60]]
)


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, pq), (HLG, hlg)])
def test_signals_up_to_white_are_unchanged(transfer: int, signal: Signal) -> None:
    back = to_standard(signal(shown(COLOURS)), transfer, BT2020)
    np.testing.assert_allclose(back, COLOURS, atol=3)


@pytest.mark.parametrize(("transfer", "signal"), [(PQ, pq), (HLG, hlg)])
@pytest.mark.parametrize("peak", [400, 1000])
def test_highlights_are_compressed_and_the_rest_is_nearly_kept(transfer: int, signal: Signal, peak: float) -> None:
    greys = np.array([5, 20, 50, 100, 203, peak])[:, None].repeat(3, axis=1)
    back = to_standard(signal(greys), transfer, BT2020)[:, 0].astype(int)
    assert (np.diff(back) > 0).all() and back[-1] == pytest.approx(255, abs=1)
    plain = 255 * (greys[:4, 0] / 203) ** (1 / 2.2)
    np.testing.assert_allclose(back[:4], plain, atol=12)


def test_a_bright_colour_keeps_its_hue() -> None:
    red, blue, green = (to_standard(pq(shown(np.array([colour])) * 4), PQ, BT2020)[0].astype(int) for colour in (
        [230, 40, 40], [40, 40, 230], [40, 200, 40],
    ))  # fmt: skip
    assert red[0] > 2 * max(red[1:]) and blue[2] > 2 * max(blue[:2]) and green[1] > 2 * max(green[0], green[2])


def test_wide_gamuts_of_standard_range_are_converted_to_bt709() -> None:
    in_2020 = np.round(((COLOURS / 255) ** 2.2 @ TO_2020.T) ** (1 / 2.2) * 65535).astype(np.uint16)
    np.testing.assert_allclose(to_standard(in_2020, SDR, BT2020), COLOURS, atol=3)
    white = np.full((1, 3), 65535, np.uint16)
    for primaries in (BT2020, P3):
        np.testing.assert_allclose(to_standard(white, SDR, primaries), 255, atol=1)


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_black_and_extreme_values_are_finite(transfer: int) -> None:
    extremes = np.array([[0, 0, 0], [65535, 0, 0], [65535, 65535, 65535]], np.uint16)
    back = to_standard(extremes, transfer, BT2020)
    assert (back[0] == 0).all() and (back[2] >= 254).all()


def test_ordinary_video_needs_no_mapping() -> None:
    assert is_standard(SDR, BT709) and is_standard(2, 2) and is_standard(6, 6)
    assert not is_standard(PQ, BT2020) and not is_standard(HLG, BT2020) and not is_standard(PQ, 2)
