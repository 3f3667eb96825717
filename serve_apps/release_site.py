"""Where releases are made, from the settings."""

from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoder
from rayreel.index.connect import connect
from rayreel.release.site import Site
from rayreel.settings import Settings


def make_site(settings: Settings) -> Site:
    """Connect to the index of these settings; the embedded Milvus needs a running Ray."""
    return Site(
        storage=settings.place,
        client=connect(settings.index, settings.milvus_dir),
        index=settings.index,
        release=settings.release,
        evaluation=settings.evaluation,
        text_encoder=lambda: load_encoder(Modality.TEXT, settings.encoders, settings.weights_cache),
        interactions=settings.interactions,
    )
