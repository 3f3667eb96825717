"""Options that all commands have, and the settings that a command's help lists."""

from pathlib import Path
from typing import Annotated

import typer

from rayreel.cli.described import matching, setting_lines
from rayreel.cli.output import print_json
from rayreel.encoders.registry import Modality
from rayreel.errors import RayreelError
from rayreel.features.metric import Metric


def complete_setting(incomplete: str) -> list[str]:
    """Return the settings that begin so, for the shell's completion of --set."""
    return [f"{line.name}=" for line in setting_lines() if line.name.startswith(incomplete)]


ConfigFile = Annotated[Path | None, typer.Option("--config", help="YAML file with settings.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="PART.KEY=VALUE",
        help="One setting, such as train.epochs=5. May be repeated.",
        autocompletion=complete_setting,
    ),
]
StorageRoot = Annotated[
    str | None,
    typer.Option("--storage", help="Folder or s3:// URI of all state.", show_default="$RAYREEL_STORAGE or ./storage"),
]
Interactions = Annotated[
    str | None, typer.Option(help="Who watched what: CSV, Parquet or RecBole .inter file (interactions).")
]
AsJson = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as one JSON object on stdout, everything else on stderr.",
        callback=print_json,
        is_eager=True,
    ),
]
OwnSpace = Annotated[
    Modality | None,
    typer.Option("--encoder", help="Compare this encoder's own vectors in the feature store instead of a release."),
]
SpaceMetric = Annotated[
    Metric | None, typer.Option("--metric", help="With --encoder: how vectors are compared.", show_default="cosine")
]
Port = Annotated[
    int | None, typer.Option(help="Port of the HTTP service.", show_default="as in serve_apps/config.yaml")
]


def metric_of(encoder: Modality | None, metric: Metric | None) -> Metric:
    """Return the metric of an encoder's space. Raises RayreelError for a metric without an encoder."""
    if metric is not None and encoder is None:
        raise RayreelError(
            f"--metric {metric} needs --encoder: the embeddings of a release are unit vectors, which index and service "
            "compare by cosine. Name the encoder whose own vectors to compare: visual, audio or text."
        )
    return metric or Metric.COSINE


def settings_help(*parts: str) -> str:
    """Return the help on settings, listing those of `parts` with their defaults."""
    lines = [line for part in parts for line in matching(setting_lines(), part)]
    listed = [f"{line.name} = {line.default}: {line.description}" for line in lines]
    head = "Settings (--set, --config; environment RAYREEL_PART__KEY). `rayreel settings` lists all of them."
    return "\n\n".join([f"[bold]{head}[/]", *(text.replace("[", r"\[") for text in listed)])
