"""Lay embeddings out in two or three dimensions, for maps of the videos."""

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from rayreel.errors import RayreelError
from rayreel.recommendation.config import Layout

PERPLEXITY = 30.0
_FEWEST = 4


class LayoutUnavailable(RayreelError):
    """The videos cannot be laid out."""


def lay_out(vectors_ND: NDArray[np.float32], layout: Layout, axes: int = 2, seed: int = 0) -> NDArray[np.float32]:
    """Return positions [N, axes] of unit vectors, centred, the farthest coordinate at 1. Same seed, same positions.

    Raises LayoutUnavailable for fewer than 4 videos, and if UMAP is not installed. Sources: van der Maaten and Hinton
    2008, Visualizing Data using t-SNE; McInnes et al. 2018, UMAP.
    """
    if len(vectors_ND) < _FEWEST:
        raise LayoutUnavailable(f"A map needs at least {_FEWEST} videos with embeddings, not {len(vectors_ND)}.")
    match layout:
        case Layout.PCA:
            places_NA = PCA(axes, random_state=seed).fit_transform(vectors_ND)
        case Layout.TSNE:
            # Of unit vectors, Euclidean distances are in the order of the cosines.
            perplexity = min(PERPLEXITY, (len(vectors_ND) - 1) / 3)
            places_NA = TSNE(axes, perplexity=perplexity, init="pca", random_state=seed).fit_transform(vectors_ND)
        case Layout.UMAP:
            places_NA = _umap(vectors_ND, axes, seed)
    places_NA = places_NA - places_NA.mean(axis=0)
    spread = float(np.abs(places_NA).max())
    return np.asarray(places_NA / (spread or 1.0), np.float32)


def _umap(vectors_ND: NDArray[np.float32], axes: int, seed: int) -> NDArray[np.float32]:
    try:
        import umap
    except ImportError as error:
        raise LayoutUnavailable("UMAP is not installed. Run `pip install rayreel[map]`, or use tsne.") from error
    neighbours = min(15, len(vectors_ND) - 1)
    model = umap.UMAP(n_neighbors=neighbours, n_components=axes, metric="cosine", random_state=seed)
    found: NDArray[np.float32] = model.fit_transform(vectors_ND)
    return found
