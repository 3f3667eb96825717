"""The client with the real service."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from chain import CLIPS, Chain
from rayreel.client.client import ApiError, Client

FilmMaker = Callable[..., Path]
pytestmark = pytest.mark.timeout(900)  # the first test waits for the service
KNOWN, OTHER = CLIPS[3].video_id, CLIPS[20].video_id


@pytest.fixture(scope="module")
def client(chain: Chain) -> Iterator[Client]:
    with Client(chain.url, timeout_s=120) as connected:
        yield connected


def test_a_query_by_id_never_returns_the_video_itself(client: Client) -> None:
    found = client.recommend(video_id=KNOWN, top_k=20, explain=True)
    scores = [result.score for result in found.results]
    assert len(scores) == 20 and scores == sorted(scores, reverse=True)
    assert KNOWN not in {result.video_id for result in found.results}
    assert all(result.explanation and result.explanation.modalities for result in found.results)


def test_options_reach_the_service(client: Client) -> None:
    category = client.video(KNOWN).category
    same = client.recommend(video_id=KNOWN, filter={"category": category})
    other = client.recommend(video_id=KNOWN, cross_category=True)
    assert {result.category for result in same.results} == {category}
    assert category not in {result.category for result in other.results}
    first = other.results[0].video_id
    assert first not in {r.video_id for r in client.recommend(video_id=KNOWN, exclude=[first]).results}


def test_an_embedded_text_is_a_query_of_its_own(client: Client) -> None:
    embedded = client.embed(["video 7", "something else"])
    assert np.linalg.norm(embedded.embeddings, axis=1) == pytest.approx([1, 1], abs=1e-3)
    scores = [r.score for r in client.recommend(embedding=embedded.embeddings[0], top_k=5).results]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True)


def test_a_user_is_recommended_nothing_they_have_watched(client: Client) -> None:
    history = [{"video_id": KNOWN, "weight": 2}, OTHER]
    found = client.recommend(user={"history": history}, top_k=50)
    assert found.results and not {KNOWN, OTHER} & {result.video_id for result in found.results}
    assert client.recommend(user={"liked_categories": [client.video(KNOWN).category]}).results


def test_all_videos_are_listed_once_in_order(client: Client) -> None:
    ids = [video.video_id for video in client.videos(page=7)]
    assert ids == sorted(set(ids)) and KNOWN in ids


def test_an_added_video_is_found_at_once_and_a_deleted_one_is_not(client: Client, film: FilmMaker) -> None:
    path = film("new film.mp4", frames=30)
    added = client.add_video(
        path, video_id="new / ü", title="A new film", category="new", tags=["a", "b"], metadata={"views": 3}
    )
    assert (added.video_id, added.title, added.tags, added.metadata) == (
        "new / ü",
        "A new film",
        ["a", "b"],
        {"views": 3},
    )
    assert client.video("new / ü") == added
    like_it = client.recommend_upload(path, title="A new film", top_k=3)
    assert like_it.results[0].video_id == "new / ü"
    assert [r.video_id for r in client.recommend(text="film", filter={"category": "new"}).results] == ["new / ü"]
    assert [r.video_id for r in client.recommend(text="film", filter={"extra.views": {"gte": 3}}).results] == [
        "new / ü"
    ]
    assert not client.recommend_upload(path, exclude=["new / ü"], filter={"category": "new"}).results
    (explained,) = client.recommend_upload(
        path, filter={"category": "new"}, weights={"visual": 1}, explain=True
    ).results
    assert explained.score < 0.99 and explained.explanation is not None  # the video has a title too
    assert explained.explanation.modalities["visual"] == pytest.approx(1, abs=1e-3)
    with pytest.raises(ApiError, match=r"filter\.colour: unknown field"):
        client.recommend_upload(path, filter={"colour": "red"})
    embedding = client.embed_upload(path, title="A new film").embeddings[0]
    assert client.recommend(embedding=embedding, top_k=1).results[0].video_id == "new / ü"
    client.delete_video("new / ü")
    assert "new / ü" not in {r.video_id for r in client.recommend_upload(path, top_k=50).results}
    with pytest.raises(ApiError) as gone:
        client.video("new / ü")
    assert gone.value.status == 404 and gone.value.request_id


def test_pictures_are_deleted_with_the_last_video_that_has_them(client: Client, chain: Chain, film: FilmMaker) -> None:
    path, another = film("one.mp4", frames=26), film("another.mp4", frames=27)
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    pictures = chain.storage / "pictures" / content[:2] / f"{content}.pictures"
    for video_id in ("one", "its copy"):
        client.add_video(path, video_id=video_id)
    client.add_video(another, video_id="one")
    assert pictures.exists()
    client.delete_video("its copy")
    assert not pictures.exists()
    client.delete_video("one")


def test_the_serving_release_is_listed(client: Client) -> None:
    serving = client.release()
    assert serving.champion and serving.version == client.ready().release
    assert serving.version in {release.version for release in client.releases()}


def test_delete_all_requires_confirmation(client: Client) -> None:
    before = client.ready().index_size
    for confirm in ("", "yes", "delete-all-video"):
        with pytest.raises(ApiError) as refused:
            client.delete_all_videos(confirm)
        assert refused.value.status == 422
    assert client.ready().index_size == before


def test_an_unknown_job_is_not_found(client: Client) -> None:
    with pytest.raises(ApiError) as unknown:
        client.job("no such job")
    assert unknown.value.status == 404
    with pytest.raises(ApiError) as unknown:
        client.cancel_job("no such job")
    assert unknown.value.status == 404
