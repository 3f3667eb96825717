"""Rendering the sample set."""

from pathlib import Path

from rich.progress import track

from rayreel.catalog.sample.interactions import simulate_interactions, write_interactions
from rayreel.catalog.sample.manifest import write_manifest
from rayreel.catalog.sample.plan import plan_sample
from rayreel.cli.output import console, step
from rayreel.media.render.encode import render
from rayreel.settings import Settings


def sample_folder(settings: Settings) -> Path:
    """Return the default folder of the sample set."""
    return settings.place.local("sample", what="`rayreel sample` without --out")


def make_sample(settings: Settings, folder: Path) -> Path:
    """Render the videos that are not in the folder yet. Return the catalog file."""
    clips = plan_sample(settings.sample)
    step(f"Rendering {len(clips)} videos of {settings.sample.categories} categories into {folder}")
    missing = [clip for clip in clips if not (folder / clip.file).exists()]
    for clip in track(missing, "rendering", console=console, disable=not missing):
        render(clip, folder / clip.file)
    write_interactions(simulate_interactions(clips, settings.sample), folder)
    return write_manifest(clips, folder)
