"""Render a labelled sample set of short videos, with simulated viewers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import track

from command import ConfigFile, Sets, StorageRoot, console, finish, following, run, step
from rayreel.catalog.sample.interactions import simulate_interactions, write_interactions
from rayreel.catalog.sample.manifest import write_manifest
from rayreel.catalog.sample.plan import plan_sample
from rayreel.media.render.encode import render
from rayreel.settings import Settings, load_settings


def main(
    out: Annotated[Path | None, typer.Option(help="Folder to write to. [default: <storage>/sample]")] = None,
    clips: Annotated[int | None, typer.Option(help="How many videos (sample.clips).")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Render a labelled sample set: short H.264 videos with sound in distinct categories, and interactions.csv.

    The same settings give the same bytes; videos that are there already are kept.
    """
    given = [*(sets or []), *([f"sample.clips={clips}"] if clips is not None else [])]
    settings = load_settings(config, given, storage)
    manifest = make_sample(settings, out or sample_folder(settings))
    finish(f"{manifest.parent}", following("extract", settings, config, given, "--catalog", str(manifest)))


def sample_folder(settings: Settings) -> Path:
    """Where the sample set lies unless told otherwise."""
    return settings.place.local("sample", what="jobs/sample.py without --out")


def make_sample(settings: Settings, folder: Path) -> Path:
    """Render what is not there yet; returns the catalog file."""
    clips = plan_sample(settings.sample)
    step(f"Rendering {len(clips)} videos of {settings.sample.categories} categories into {folder}")
    missing = [clip for clip in clips if not (folder / clip.file).exists()]
    for clip in track(missing, "rendering", console=console, disable=not missing):
        render(clip, folder / clip.file)
    write_interactions(simulate_interactions(clips, settings.sample), folder)
    return write_manifest(clips, folder)


if __name__ == "__main__":
    run(main)
