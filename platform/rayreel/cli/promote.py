"""`rayreel promote`: run a tower's gates, build its index and switch search to it; or roll back."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import emit, finish, next_command
from rayreel.settings import load_settings


def main(
    version: Annotated[str, typer.Option(help="Number or alias in the registry.")] = "challenger",
    force: Annotated[
        str | None,
        typer.Option(
            metavar="REASON", help="Promote despite failed quality gates; the reason is recorded in the audit trail."
        ),
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Roll back to the previous release.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only run the gates; build and switch nothing.")] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Build the version's release beside the serving one, verify it, and switch search and the champion to it.

    Gates (release.gates) run first: better than the champion, above every content baseline, sound. If one refuses the
    version, nothing changes. After a kill, run the same command again to continue.
    """
    settings = load_settings(config, sets or [], storage)
    # Not before the settings are valid: these imports take seconds.
    from rayreel.cli.steps import promote as steps
    from rayreel.index.collection import collection_name
    from rayreel.release import registry
    from rayreel.training.tracking import use_tracking

    use_tracking(settings.place)
    if check:
        emit(steps.check_tower(settings, registry.resolve(version)))
        return
    if rollback:
        result = steps.roll_back_release(settings)
    else:
        result = steps.as_dict(steps.promote_tower(settings, registry.resolve(version), force))
    finish(
        result,
        f"collection {collection_name(result['release'])}, aliases {settings.index.alias} and {registry.CHAMPION}",
        f"{next_command('serve', settings, config, sets or [])}; a running service uses this release already",
    )
