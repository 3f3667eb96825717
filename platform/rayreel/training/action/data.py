"""Decoded clips with their classes and split, and the augmented windows of a step."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.catalog.video import CatalogVideo
from rayreel.errors import RayreelError
from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.splits import Split, groups_of, split_named
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.version import version_of
from rayreel.training.action.clips import Clip, ClipStore
from rayreel.training.action.config import ActionConfig

# `of`: the recording that the clip was cut from. `side`: the catalog's `split` column, as in UCF101's official lists.
LISTED = pa.schema([(name, pa.string()) for name in ("video_id", "version", "category", "of", "side")])
# UCF101 names its files v_Class_gNN_cMM: clip MM of recording NN (Soomro et al. 2012, section 3).
_PIECE = re.compile(r"(v_.+_g\d+)_c\d+")


@dataclass(frozen=True, slots=True)
class LabelledClips:
    """clips[i]: uint8 RGB [windows, T, S, S, 3], memory-mapped; labels_N: indices into `classes`; `split`: rows.

    `left_out`: classes without training clips, whose clips are not included; `video_ids` and `groups` of the clips:
    clips of one group are on one side of the split.
    """

    clips: Sequence[Clip]
    labels_N: NDArray[np.int64]
    classes: tuple[str, ...]
    split: Split
    left_out: tuple[str, ...] = ()
    video_ids: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def counts(self) -> dict[str, tuple[int, int, int]]:
        """Return the numbers of training, validation and test clips of each class."""
        parts = (self.split.train, self.split.validation, self.split.test)
        each = [np.bincount(self.labels_N[rows], minlength=len(self.classes)).tolist() for rows in parts]
        return {name: (train, held, test) for name, train, held, test in zip(self.classes, *each, strict=True)}


def list_clips(videos: Sequence[CatalogVideo], group_by: str) -> pa.Table:
    """Return the videos that have a file and a category, as rows of LISTED. Raises RayreelError if none has both."""
    labelled = [video for video in videos if video.uri and video.category]
    if not labelled:
        raise RayreelError(
            f"None of the {len(videos)} videos has a category, which is the class to learn. Put the videos of each "
            "class into a separate folder, or add a category column to the catalog."
        )
    rows = ((v.video_id, version_of(v), v.category, source_of(v, group_by), v.extra.get("split")) for v in labelled)
    return pa.Table.from_pylist([dict(zip(LISTED.names, row, strict=True)) for row in rows], schema=LISTED)


def digest_of(listed: pa.Table) -> str:
    """Return a digest of listed clips: their files' versions, classes, recordings and sides."""
    rows = json.dumps(listed.to_pylist(), sort_keys=True)
    return hashlib.blake2b(rows.encode(), digest_size=8).hexdigest()


def load_clips(listed: pa.Table, store: ClipStore, splits: SplitConfig) -> LabelledClips:
    """Load the listed clips that are decoded, in list order and split by group, identically in every process."""
    decoded = store.read()
    places = {pair: row for row, pair in reversed(list(enumerate(_pairs(decoded))))}
    found = [(row, places[pair]) for row, pair in enumerate(_pairs(listed)) if pair in places]
    rows = listed.take([row for row, _ in found])
    rows = rows.append_column("content_hash", decoded["content_hash"].take([place for _, place in found]))
    arrays = list(store.arrays(decoded["frames"]))
    groups, categories_N = _groups(rows, splits), np.array(rows["category"].to_pylist(), dtype=np.str_)
    split = split_named(groups, np.array([side == "test" for side in rows["side"].to_pylist()], dtype=bool), splits)
    known_N = np.isin(categories_N, categories_N[split.train])
    classes, labels_N = np.unique(categories_N[known_N], return_inverse=True)
    clips = [arrays[place] for (_, place), known in zip(found, known_N, strict=True) if known]
    return LabelledClips(
        clips,
        labels_N,
        tuple(classes.tolist()),
        _renumber(split, known_N),
        left_out=tuple(np.unique(categories_N[~known_N]).tolist()),
        video_ids=tuple(rows["video_id"].filter(known_N).to_pylist()),
        groups=tuple(groups.filter(known_N).to_pylist()),
    )


def check_clips(data: LabelledClips) -> None:
    """Raise RayreelError if there are fewer than two classes or no validation clips."""
    remedy = "Add clips of other recordings, or use another split with --set splits.seed=1"
    if len(data.classes) < 2:
        raise RayreelError(f"Classes with training clips: {len(data.classes)}; at least two are needed. {remedy}.")
    if not len(data.split.validation):
        raise RayreelError(f"The split has no validation clips, which select the best epoch. {remedy}.")


def draw_windows(
    data: LabelledClips, batch_J: NDArray[np.int64], mine_B: NDArray[np.int64], config: ActionConfig, seed: list[int]
) -> NDArray[np.uint8]:
    """Return one randomly shifted and mirrored window of each of this worker's clips: [B, T, S, S, 3].

    `mine_B` are positions in the global batch. All random numbers are drawn for the global batch from `seed`, so that
    a clip is augmented in the same way on any worker.
    """
    random = np.random.default_rng(seed)
    max_shift = round(config.shift * config.network.size)
    window_J, mirror_J = random.random(len(batch_J)), random.random(len(batch_J)) < 0.5
    shift_J2 = random.integers(0, 2 * max_shift + 1, (len(batch_J), 2))
    windows = []
    for place in mine_B:
        clip = data.clips[batch_J[place]]
        window = _shift(clip[int(window_J[place] * len(clip))], max_shift, shift_J2[place])
        windows.append(window[:, :, ::-1] if config.flip and mirror_J[place] else window)
    return np.stack(windows)


def _shift(window_THWC: NDArray[np.uint8], max_shift: int, shift_2: NDArray[np.int64]) -> NDArray[np.uint8]:
    if not max_shift:
        return window_THWC
    size, (top, left) = window_THWC.shape[1], shift_2
    wide = np.pad(window_THWC, ((0, 0), (max_shift, max_shift), (max_shift, max_shift), (0, 0)), mode="edge")
    return wide[:, top : top + size, left : left + size]


def _groups(rows: pa.Table, splits: SplitConfig) -> pa.StringArray:
    named = pa.table({"video_id": rows["video_id"], "content_hash": rows["content_hash"], splits.group_by: rows["of"]})
    return groups_of(FeatureMatrix({}, named), splits)


def _renumber(split: Split, kept_N: NDArray[np.bool_]) -> Split:
    """Renumber the rows of a split after dropping all but the kept ones."""
    number_N = np.cumsum(kept_N) - 1
    return Split(*(number_N[rows[kept_N[rows]]] for rows in (split.train, split.validation, split.test)))


def _pairs(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["video_id"].to_pylist(), table["version"].to_pylist(), strict=True))


def source_of(video: CatalogVideo, group_by: str) -> str | None:
    """Return the video's `group_by` value or, without one, the recording according to the file name, if any."""
    value = {**video.model_dump(exclude={"extra"}), **video.extra}.get(group_by)
    if value not in {None, ""}:
        return str(value)
    for name in (video.video_id, video.uri.partition("?")[0]):
        path = PurePosixPath(name)
        for part in (path.name, path.stem):
            if found := _PIECE.fullmatch(part):
                return found[1]
    return None
