"""`rayreel map`: a map of the promoted release as a page and a picture."""

from pathlib import Path
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import finish
from rayreel.recommendation.config import Layout
from rayreel.settings import load_settings


def main(
    layout: Annotated[
        Layout, typer.Option(help="pca is quick, tsne and umap keep neighbours together; umap needs rayreel\\[map].")
    ] = Layout.TSNE,
    out: Annotated[
        Path | None, typer.Option(help="Also write the page and, beside it, the picture to this .html file.")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Lay out the videos of the promoted release in two and three dimensions, and write a page and a picture.

    The page shows them by all modalities together or by each alone, coloured by category, cluster, split, or nDCG with
    the video as a query. It lists near-duplicates and leaks between splits. The service shows it at /map.
    """
    settings = load_settings(config, sets or [], storage)
    from rayreel.cli.steps.map import make_map

    result = make_map(settings, layout, out)
    finish(result, f"{result['page']} and {result['picture']}", "open /map of the service, or the file in a browser")
