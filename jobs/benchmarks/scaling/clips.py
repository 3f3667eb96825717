"""Clips to measure on where no catalog is given."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from rayreel.catalog.read import read_catalog
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.manifest import write_manifest
from rayreel.catalog.sample.plan import plan_sample
from rayreel.catalog.video import CatalogVideo
from rayreel.media.render.encode import render


@contextmanager
def catalog_or_clips(catalog: str | None, clips: int) -> Iterator[list[CatalogVideo]]:
    """The videos of a catalog, or so many generated clips for as long as they are needed."""
    if catalog is not None:
        yield read_catalog(catalog).videos
        return
    with TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        plan = plan_sample(SampleConfig(clips=clips))
        for clip in plan:
            render(clip, Path(folder) / clip.file)
        yield read_catalog(str(write_manifest(plan, Path(folder)))).videos
