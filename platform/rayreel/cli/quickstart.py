"""`rayreel quickstart`: from nothing to recommendations over HTTP, on this machine."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Port, Sets, StorageRoot
from rayreel.cli.output import emit
from rayreel.settings import load_settings


def main(
    catalog: Annotated[
        str | None, typer.Option(help="Folder of videos or manifest.", show_default="a rendered sample set")
    ] = None,
    no_train: Annotated[
        bool, typer.Option("--no-train", help="Serve frozen features at once (train.recipe=frozen); skips `evaluate`.")
    ] = False,
    port: Port = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """From a catalog to recommendations over HTTP: extract, train, evaluate, promote, serve, recommend.

    On the sample set, the tower learns from who watched what, unless settings of `pairs` say otherwise. A second run
    reuses finished steps. The service keeps running; `ray stop` ends it, as does `make stop`.
    """
    from rayreel.cli.steps.quickstart import FROZEN, SAMPLE_SETTINGS, run_quickstart

    changed = [*(sets or []), *([FROZEN] if no_train else [])]
    settings = load_settings(config, changed, storage, SAMPLE_SETTINGS if catalog is None else ())
    emit(run_quickstart(settings, catalog, config, changed, port))
