"""Making a map of the promoted release."""

import tempfile
from pathlib import Path
from typing import Any

from rayreel.cli.output import step
from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.splits import groups_of, named_test, split_named
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import NoFeatures, open_store
from rayreel.media.pictures import PictureKind, Pictures
from rayreel.recommendation.config import Layout
from rayreel.recommendation.local import load_promoted
from rayreel.recommendation.map import map_of
from rayreel.recommendation.map_page import page, picture
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings
from rayreel.training.tracking import add_files, run_config, use_tracking

FOLDER = "maps"


def make_map(settings: Settings, layout: Layout, out: Path | None = None) -> dict[str, Any]:
    """Write the map below the storage root, where the service finds it, to the release's run, and to `out` if given."""
    storage = settings.place
    use_tracking(storage)
    live = load_promoted(storage, settings.release.snapshot_cache)
    step(f"Laying out {len(live)} videos of release {live.version} by {layout}")
    pictures = Pictures(storage)
    version = registry.resolve(str(live.version))
    parts = parts_of(settings, version)
    made = map_of(live, layout, lambda content_hash: pictures.read(content_hash, PictureKind.POSTER), parts)
    contents = {"map.html": page(made).encode(), "map.png": picture(made)}
    for name, content in contents.items():
        storage.write(storage.path(FOLDER, name), content)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in contents.items():
            (Path(folder) / name).write_bytes(content)
        add_files(version.run_id, Path(folder), FOLDER)
    places = [storage.uri(FOLDER, name) for name in contents]
    if out is not None:
        places = [str(out.with_suffix(suffix)) for suffix in (".html", ".png")]
        for path, content in zip(places, contents.values(), strict=True):
            Path(path).write_bytes(content)
    return {"release": live.version, "videos": len(live), "page": places[0], "picture": places[1]}


def parts_of(settings: Settings, version: Version) -> dict[str, str]:
    """Return train, validation or test for each video that a version was trained and evaluated with.

    None are known if their features have been deleted, as they may be once the release is built.
    """
    splits = SplitConfig.model_validate(run_config(version.run_id)["splits"])
    store = open_store(settings.place, version.encoder_key)
    named = [splits.group_by] if splits.group_by in store.schema.names else []
    try:
        matrix = FeatureMatrix({}, store.read(["video_id", "content_hash", "extra", *named]))
    except NoFeatures:
        step("Their features are gone, so the map does not show which were trained with and which were held out")
        return {}
    ids = matrix.column("video_id")
    split = split_named(groups_of(matrix, splits), named_test(matrix), splits)
    return {ids[row]: part for part in ("train", "validation", "test") for row in getattr(split, part)}
