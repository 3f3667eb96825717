"""Words and pictures of a planted world, in which the two lie in different cones."""

from typing import NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.tower.config import FrozenConfig, TowerConfig
from rayreel.tower.embed import embed_queries, embed_query, embed_words
from rayreel.tower.embedder import Embedder
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.tower import VideoTower

DIM, VIDEOS, TOPICS, FRAMES = 64, 400, 20, 4
DIMS = {Modality.VISUAL: DIM, Modality.AUDIO: 8, Modality.TEXT: 8}
TOPIC_V = np.arange(VIDEOS) % TOPICS
Array = NDArray[np.float32]


class World(NamedTuple):
    """Unit vectors of pictures [videos, frames, D], titles [videos, D] and one query per topic, in words."""

    pictures: Array
    titles: Array
    queries: Array


def unit(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def world(gap: float) -> World:
    """Pictures and words are a topic, a cone's axis of length `gap`, and noise."""
    random = np.random.default_rng(0)
    topics, (seen, said) = unit(random.normal(size=(TOPICS, DIM))), gap * unit(random.normal(size=(2, DIM)))

    def noise(*shape: int) -> NDArray[np.float64]:
        return np.asarray(random.normal(size=(*shape, DIM)) * 2 / np.sqrt(DIM))

    videos = topics[TOPIC_V] + noise(VIDEOS)
    vectors = videos[:, None] + seen + noise(VIDEOS, FRAMES), videos + said + noise(VIDEOS), topics + said
    pictures, titles, queries = (unit(x).astype(np.float32) for x in vectors)
    return World(pictures, titles, queries)


def fitted(given: World, centre_words: bool = True) -> VideoTower:
    torch.manual_seed(0)
    tower = VideoTower(TowerConfig(dim=64, centre_words=centre_words), DIMS).eval()
    pictures = given.pictures[: VIDEOS // 2].reshape(-1, DIM).astype(np.float16)
    tower.fit_inputs({Modality.VISUAL: pictures}, {Modality.VISUAL: given.titles[: VIDEOS // 2].mean(axis=0)})
    return tower


def precision(given: World, tower: Embedder) -> float:
    """Precision@10 of queries in words among the other videos, which have no titles."""
    held_out = np.arange(VIDEOS // 2, VIDEOS)
    videos_VD = embed_queries(tower, [{Modality.VISUAL: given.pictures[video]} for video in held_out])
    queries_QD = np.stack([embed_words(tower, {Modality.VISUAL: query[None]}) for query in given.queries])
    found_QK = held_out[np.argsort(-queries_QD @ videos_VD.T, axis=1)[:, :10]]
    return float((TOPIC_V[found_QK] == np.arange(TOPICS)[:, None]).mean())


@pytest.mark.parametrize("gap", [1.0, 2.0])
def test_centred_words_find_pictures_in_another_cone(gap: float) -> None:
    given = world(gap)
    assert precision(given, fitted(given)) > precision(given, fitted(given, centre_words=False)) + 0.05


def test_centring_costs_nothing_without_a_gap() -> None:
    given = world(gap=0)
    assert precision(given, fitted(given)) == pytest.approx(precision(given, fitted(given, False)), abs=0.03)


def test_only_words_are_moved() -> None:
    given = world(gap=1)
    plain, centring = fitted(given, centre_words=False), fitted(given)
    query = {Modality.VISUAL: given.queries[:1]}
    np.testing.assert_array_equal(embed_query(centring, query), embed_query(plain, query))
    np.testing.assert_array_equal(embed_words(plain, query), embed_query(plain, query))
    assert not np.allclose(embed_words(centring, query), embed_query(centring, query), atol=0.1)
    text = {Modality.TEXT: np.ones((1, 8), np.float32)}
    np.testing.assert_array_equal(embed_words(centring, text), embed_query(centring, text))


def test_a_tower_saved_without_the_gap_can_be_loaded() -> None:
    saved = fitted(world(gap=1))
    state = {name: x for name, x in saved.state_dict().items() if not name.endswith("gap")}
    loaded = VideoTower(saved.config, DIMS).eval()
    loaded.load_state_dict(state)
    query = {Modality.VISUAL: np.ones((1, DIM), np.float32)}
    np.testing.assert_array_equal(embed_words(loaded, query), embed_query(saved, query))


def test_frozen_features_move_words_too() -> None:
    given = world(gap=2)
    found = []
    for centre_words in (False, True):
        frozen = FrozenFeatures(FrozenConfig(audio=0, text=0, centre_words=centre_words), DIMS)
        pictures = given.pictures[: VIDEOS // 2].reshape(-1, DIM).astype(np.float16)
        frozen.fit_inputs({Modality.VISUAL: pictures}, {Modality.VISUAL: given.titles[: VIDEOS // 2].mean(axis=0)})
        found.append(precision(given, frozen))
    assert found[1] > found[0] + 0.05
