"""`rayreel serve`: start or update the HTTP service."""

from rayreel.cli.options import AsJson, ConfigFile, Port, Sets, StorageRoot
from rayreel.cli.output import finish
from rayreel.settings import load_settings


def main(
    port: Port = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Deploy serve_apps/config.yaml with these settings, on the running Ray cluster or a new local one, and wait.

    The service keeps running. `ray stop` ends it, as does `make stop`.
    """
    settings = load_settings(config, sets or [], storage)
    # Not before the settings are valid: these imports take seconds.
    from rayreel.cli.steps.serve import serve

    url = serve(settings, config, sets or [], port)
    finish({"url": url, "docs": f"{url}/docs"}, f"nothing; the service runs at {url}", f"open {url}/docs")
