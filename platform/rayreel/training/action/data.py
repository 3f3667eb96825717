"""Decoded clips with their classes and their place in the split; and what a step takes of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.catalog.video import CatalogVideo
from rayreel.errors import RayreelError
from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.splits import Split, groups_of, split_groups
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.version import version_of
from rayreel.training.action.clips import Clip, ClipStore
from rayreel.training.action.config import ActionConfig
from rayreel.training.action.groups import source_of

# `of`: what the clip is a piece of. `side`: where the catalog's own `split` column puts it, as UCF101's lists do.
LISTED = pa.schema([(name, pa.string()) for name in ("video_id", "version", "category", "of", "side")])


@dataclass(frozen=True, slots=True)
class LabelledClips:
    """clips[i] is uint8 RGB [windows, T, S, S, 3], mapped; labels_N are places in `classes`; `split` holds rows.

    `left_out` are classes all of whose clips fell to validation or test: nothing can be learnt of them.
    """

    clips: Sequence[Clip]
    labels_N: NDArray[np.int64]
    classes: tuple[str, ...]
    split: Split
    left_out: tuple[str, ...] = ()

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Training, validation and test clips of each class."""
        parts = (self.split.train, self.split.validation, self.split.test)
        each = [np.bincount(self.labels_N[rows], minlength=len(self.classes)).tolist() for rows in parts]
        return {name: (train, held, test) for name, train, held, test in zip(self.classes, *each, strict=True)}


def list_clips(videos: Sequence[CatalogVideo], group_by: str) -> pa.Table:
    """The videos that have a category, as rows of LISTED: what workers need to know of them. Raises RayreelError."""
    shown = [video for video in videos if video.category]
    if not shown:
        raise RayreelError(
            f"None of the {len(videos)} videos has a category, and the category is what is learnt. Put each class into "
            "a folder of its own, or give the catalog a category column."
        )
    rows = ((v.video_id, version_of(v), v.category, source_of(v, group_by), v.extra.get("split")) for v in shown)
    return pa.Table.from_pylist([dict(zip(LISTED.names, row, strict=True)) for row in rows], schema=LISTED)


def load_clips(listed: pa.Table, store: ClipStore, splits: SplitConfig) -> LabelledClips:
    """The listed clips that are decoded, in the order of the list, split by group: the same in every process."""
    decoded = store.read()
    places = {pair: row for row, pair in reversed(list(enumerate(_pairs(decoded))))}
    found = [(row, places[pair]) for row, pair in enumerate(_pairs(listed)) if pair in places]
    rows = listed.take([row for row, _ in found])
    rows = rows.append_column("content_hash", decoded["content_hash"].take([place for _, place in found]))
    arrays = list(store.arrays(decoded["frames"]))
    split, categories_N = _split(rows, splits), np.array(rows["category"].to_pylist(), dtype=np.str_)
    known_N = np.isin(categories_N, categories_N[split.train])
    classes, labels_N = np.unique(categories_N[known_N], return_inverse=True)
    clips = [arrays[place] for (_, place), known in zip(found, known_N, strict=True) if known]
    left_out = np.unique(categories_N[~known_N])
    return LabelledClips(clips, labels_N, tuple(classes.tolist()), _kept(split, known_N), tuple(left_out.tolist()))


def check_clips(data: LabelledClips) -> None:
    """Raise RayreelError where nothing can be learnt or chosen."""
    remedy = "Add clips of other recordings, or deal anew with --set splits.seed=1"
    if len(data.classes) < 2:
        raise RayreelError(f"{len(data.classes)} of the classes have clips to learn from; it takes two. {remedy}.")
    if not len(data.split.validation):
        raise RayreelError(f"No clip falls to validation, by which the best epoch is chosen. {remedy}.")


def take(
    data: LabelledClips, joined_J: NDArray[np.int64], mine_B: NDArray[np.int64], config: ActionConfig, chance: list[int]
) -> NDArray[np.uint8]:
    """One window, moved and mirrored by chance, of this worker's clips: [B, T, S, S, 3].

    `mine_B` are places in the joined batch. All numbers of chance are drawn for all of it, from the seed `chance`: a
    clip looks the same whichever worker takes it.
    """
    random = np.random.default_rng(chance)
    far = round(config.shift * config.network.size)
    which_J, mirror_J = random.random(len(joined_J)), random.random(len(joined_J)) < 0.5
    shift_J2 = random.integers(0, 2 * far + 1, (len(joined_J), 2))
    windows = []
    for place in mine_B:
        clip = data.clips[joined_J[place]]
        window = _moved(clip[int(which_J[place] * len(clip))], far, shift_J2[place])
        windows.append(window[:, :, ::-1] if config.flip and mirror_J[place] else window)
    return np.stack(windows)


def _moved(window_THWC: NDArray[np.uint8], far: int, shift_2: NDArray[np.int64]) -> NDArray[np.uint8]:
    if not far:
        return window_THWC
    size, (top, left) = window_THWC.shape[1], shift_2
    wide = np.pad(window_THWC, ((0, 0), (far, far), (far, far), (0, 0)), mode="edge")
    return wide[:, top : top + size, left : left + size]


def _split(rows: pa.Table, splits: SplitConfig) -> Split:
    """By the rules that evaluation splits by; where the catalog names its test clips, these are the test."""
    named = pa.table({"video_id": rows["video_id"], "content_hash": rows["content_hash"], splits.group_by: rows["of"]})
    groups = groups_of(FeatureMatrix({}, named), splits)
    test = np.array([side == "test" for side in rows["side"].to_pylist()], dtype=bool)
    if not test.any():
        return split_groups(groups, splits)
    free = split_groups(groups, splits.model_copy(update={"test": 0.0}))
    return Split(free.train[~test[free.train]], free.validation[~test[free.validation]], np.flatnonzero(test))


def _kept(split: Split, kept_N: NDArray[np.bool_]) -> Split:
    """The split in the numbers that rows have once only these are kept."""
    number_N = np.cumsum(kept_N) - 1
    return Split(*(number_N[rows[kept_N[rows]]] for rows in (split.train, split.validation, split.test)))


def _pairs(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["video_id"].to_pylist(), table["version"].to_pylist(), strict=True))
