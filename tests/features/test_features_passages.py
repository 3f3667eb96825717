"""Texts of rows: passages, and one vector for what is written and one for what is said."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.encoder import Vectors
from rayreel.features.rows import todo_rows
from rayreel.features.texts import passages, text_vectors


class Lengths:
    """An encoder whose vectors are the length of a text, and 1."""

    identity, dim = "lengths", 2

    def encode(self, texts: list[str], *, query: bool = False) -> Vectors:
        return np.array([[len(text), 1] for text in texts], np.float32).reshape(-1, 2)

    def knows(self, word: str) -> bool:
        return bool(word)


def rows_of(titles: list[str], transcripts: list[str | None]) -> pa.Table:
    videos = [CatalogVideo(video_id=str(i), uri="a.mp4", title=title) for i, title in enumerate(titles)]
    rows = todo_rows(videos, ["v"] * len(titles)).append_column("transcript", pa.array(transcripts, pa.string()))
    return rows.append_column("reason", pa.nulls(len(titles), pa.string()))


def test_what_is_said_is_one_vector_however_long_it_is() -> None:
    long = " ".join(f"This is sentence number {n:03} of a long speech." for n in range(40))
    vectors, counts = text_vectors(Lengths(), rows_of(["Title", "", "Other", ""], [long, long, None, None]))
    assert counts == [2, 1, 1, 0] and len(vectors) == 4
    np.testing.assert_allclose(vectors[1], vectors[2])
    assert vectors[0, 0] == 5 and vectors[3, 0] == 5
    mean = np.mean([len(passage) for passage in passages(long)])
    assert len(passages(long)) > 3 and vectors[1, 0] == pytest.approx(mean)


def test_passages_overlap_by_a_sentence_and_end_in_whole_sentences() -> None:
    found = passages("One. Two! Three? Four… Five.", most=11)
    assert found == ["One. Two!", "Two! Three?", "Four… Five."]
    assert passages("一つ。二つ。三つ。", most=7) == ["一つ。 二つ。", "二つ。 三つ。"]


@given(st.text(alphabet="ab .!?\n😀שم", max_size=300), st.integers(5, 60))
def test_passages_are_short_and_lose_no_letter(text: str, most: int) -> None:
    found = passages(text, most)
    assert all(0 < len(passage) <= most for passage in found)
    letters = sorted(set(text) - set(" \n"))
    assert sorted(set("".join(found)) - set(" \n")) == letters
