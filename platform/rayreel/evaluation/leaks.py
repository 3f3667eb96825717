"""The leak check: do titles, file names or tags give away the category, so that figures by category are too high?"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GroupKFold
from sklearn.naive_bayes import ComplementNB
from sklearn.pipeline import make_pipeline, make_union

from rayreel.catalog.naming import names, words_of
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.resampling import intervals
from rayreel.evaluation.splits import coded

TITLES, FILES, TAGS = "titles", "file names", "tags"

# More videos do not change the finding, and the classifier's vocabulary grows with them.
_MOST_VIDEOS, _FOLDS, _MIN_VIDEOS = 2_000, 5, 20
# Titles of 400 real clips, written by people, predict 0.59 of 19 categories and name 0.11 of them.
_GIVEN_AWAY = 0.9
_NAMED = 0.2


@dataclass(frozen=True, slots=True)
class LeakCheck:
    """How far one kind of metadata gives away the category of the `videos` that have a category.

    `accuracy` with its 95 % interval: of a classifier that reads nothing else, for videos of groups that it has not
    seen. `most_frequent`: share of the largest category, which a constant answer reaches. `named`: share of videos
    whose text contains the category's name. `warning`: what to do; empty if there is no leak.
    """

    of: str
    videos: int
    accuracy: float
    low: float
    high: float
    most_frequent: float
    named: float
    warning: str


def leak_checks(exam: Exam) -> list[LeakCheck]:
    """Check titles, file names and tags; empty with fewer than 20 labelled videos, two categories or two groups.

    File names are not read by encoders. They only leak where titles are made from them.
    """
    categories_N = np.array(exam.matrix.column("category"), dtype=np.str_)
    rows = np.flatnonzero(categories_N != "")
    if len(rows) > _MOST_VIDEOS:
        rows = np.sort(np.random.default_rng(exam.config.seed).choice(rows, _MOST_VIDEOS, replace=False))
    groups_R = coded(exam.groups)[0][rows]
    enough = len(rows) >= _MIN_VIDEOS and min(len(np.unique(categories_N[rows])), len(np.unique(groups_R))) > 1
    if not enough:
        return []
    check = partial(_checked, categories_R=categories_N[rows], groups_R=groups_R, resamples=exam.config.bootstrap)
    texts = _texts(exam, rows)
    repeated = float(np.mean([_same(*pair) for pair in zip(texts[TITLES], texts[FILES], strict=True)]))
    return [check(of, found, repeated=repeated) for of, found in texts.items() if any(words_of(t) for t in found)]


def _texts(exam: Exam, rows: NDArray[np.int64]) -> dict[str, list[str]]:
    title, uri, tags = (exam.matrix.column(name) for name in ("title", "uri", "tags"))
    return {
        TITLES: [title[row] or "" for row in rows],
        FILES: [PurePosixPath(uri[row] or "").stem for row in rows],
        TAGS: [" ".join(tags[row] or ()) for row in rows],
    }


def _same(title: str, file: str) -> bool:
    return title != "" and words_of(title) == words_of(file)


def _checked(
    of: str,
    texts: Sequence[str],
    *,
    categories_R: NDArray[np.str_],
    groups_R: NDArray[np.int64],
    resamples: int,
    repeated: float,
) -> LeakCheck:
    right_R = _predicted(texts, categories_R, groups_R) == categories_R
    accuracy = float(right_R.mean())
    (low,), (high,) = intervals(right_R[:, None].astype(np.float64), groups_R, resamples)
    most_frequent = float(np.unique(categories_R, return_counts=True)[1].max() / len(categories_R))
    named = float(np.mean([names(*pair, whole=True) for pair in zip(texts, categories_R, strict=True)]))
    given_away = named >= _NAMED or (accuracy >= _GIVEN_AWAY and low > most_frequent)
    read = of != FILES or repeated >= _NAMED
    warning = _WARNING[of] if given_away and read else ""
    return LeakCheck(of, len(texts), accuracy, float(low), float(high), most_frequent, named, warning)


_WARNING = {
    TITLES: "Titles may be made from the labels, so that text finds the category without the video. Compare with "
    "`--set tower.modalities=[visual,audio]`, or remove such titles from the catalog and extract again.",
    FILES: "File names give away the category, and titles repeat them. Leave the title empty or give real titles, and "
    "extract again.",
    TAGS: "Tags may repeat the category, and text encoders read them. Remove such tags from the catalog and extract "
    "again, or judge by `--set evaluation.relevance=[co_watch]`.",
}


def _predicted(texts: Sequence[str], categories_R: NDArray[np.str_], groups_R: NDArray[np.int64]) -> NDArray[np.str_]:
    """Predict each text's category from those of other groups, by TF-IDF of words and of characters.

    Classifier: complement naive Bayes, for categories of unequal size (Rennie et al. 2003).
    """
    predicted_R = np.empty_like(categories_R)
    folds = GroupKFold(min(_FOLDS, len(np.unique(groups_R))))
    for known, asked in folds.split(texts, categories_R, groups_R):
        if len(np.unique(categories_R[known])) < 2:
            predicted_R[asked] = categories_R[known][0]
            continue
        model = make_pipeline(make_union(_tfidf(analyzer="word"), _tfidf(analyzer="char_wb")), ComplementNB())
        model.fit([texts[row] for row in known], categories_R[known])
        predicted_R[asked] = model.predict([texts[row] for row in asked])
    return predicted_R


def _tfidf(analyzer: str) -> TfidfVectorizer:
    pattern = r"(?u)\b\w+\b"
    options: dict[str, Any] = {"ngram_range": (2, 4)} if analyzer == "char_wb" else {"token_pattern": pattern}
    return TfidfVectorizer(analyzer=analyzer, sublinear_tf=True, dtype=np.float32, **options)
