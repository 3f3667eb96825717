"""`rayreel sample`: render a labelled sample set of short videos, with simulated viewers."""

from pathlib import Path
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import finish, next_command
from rayreel.settings import load_settings


def main(
    out: Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="<storage>/sample")] = None,
    clips: Annotated[int | None, typer.Option(help="Number of videos (sample.clips).")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Render a labelled sample set: short H.264 videos with sound in distinct categories, and interactions.csv.

    The same settings give the same bytes. Videos that exist already are kept.
    """
    from rayreel.cli.steps.sample import make_sample, sample_folder

    changed = [*(sets or []), *([f"sample.clips={clips}"] if clips is not None else [])]
    settings = load_settings(config, changed, storage)
    manifest = make_sample(settings, out or sample_folder(settings))
    result = {"folder": manifest.parent, "catalog": manifest, "interactions": manifest.parent / "interactions.csv"}
    then = next_command("extract", settings, config, changed, "--catalog", str(manifest))
    finish(result | {"clips": settings.sample.clips}, str(manifest.parent), then)
