"""Promote a registered tower: build its index, switch search to it."""

from typing import Annotated

import typer
from rich.progress import Progress

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, run, step, use_ray
from rayreel.features.store import open_store
from rayreel.index.connect import connect
from rayreel.release import registry
from rayreel.release.promote import Promotion, promote
from rayreel.release.registry import Version
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import use_tracking


def main(
    version: Annotated[str, typer.Option(help="Number or alias in the registry.")] = registry.CHALLENGER,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Build the version's index beside the serving one, verify it, and switch search and the champion to it."""
    settings = load_settings(config, sets or [], storage)
    use_tracking(settings.place)
    done = promote_tower(settings, registry.resolve(version))
    finish(
        f"collection {done.index.collection}, aliases {settings.index.alias} and {registry.CHAMPION}",
        "make serve, or serve deploy serve_apps/config.yaml",
    )


def promote_tower(settings: Settings, version: Version) -> Promotion:
    """Promote and show what was switched."""
    step(f"Promoting {registry.MODEL} version {version.number}")
    use_ray()
    store = open_store(settings.place, version.encoder_key)
    with Progress(console=console) as bar:
        task = bar.add_task("indexing", total=None)
        done = promote(
            version,
            store,
            connect(settings.index, settings.milvus_dir),
            settings.index,
            lambda n: bar.update(task, completed=n),
        )
    console.print(
        facts(
            "Promotion",
            {
                "release": version.number,
                "before": done.previous or "none",
                "videos in the index": done.index.rows,
                "probed": f"{done.index.probed} videos, each found itself",
                "seconds": f"{done.index.seconds:.1f}",
            },
        )
    )
    return done


if __name__ == "__main__":
    run(main)
