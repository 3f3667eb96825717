"""The options of commands, for tests of what documentation and messages name."""

import typer.core


def options_of(*commands: object) -> set[str]:
    """Return the option strings of commands, with `--help`."""
    words = {"--help"}
    for command in commands:
        assert isinstance(command, typer.core.TyperCommand)
        words |= {word for option in command.params for word in (*option.opts, *option.secondary_opts)}
    return words
