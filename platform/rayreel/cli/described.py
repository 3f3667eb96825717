"""The settings by dotted names, with defaults and descriptions, for help, completion and `rayreel settings`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from rayreel.redact import redacted
from rayreel.settings import Settings


@dataclass(frozen=True, slots=True)
class SettingLine:
    """One setting, such as release.gates.min_recall. Values are those of a JSON dump, in which secrets are masked."""

    name: str
    value: Any
    default: Any
    description: str


def setting_lines(settings: Settings | None = None) -> list[SettingLine]:
    """Return all settings in their order in the tree; without `settings`, every value is its default."""
    defaults = {name: _plain(field.default) for name, field in Settings.model_fields.items()}
    values = defaults if settings is None else settings.model_dump(mode="json")
    return list(_walk(Settings, values, defaults, ""))


def matching(lines: list[SettingLine], prefix: str) -> list[SettingLine]:
    """Return the setting of this name, or those below it: `release.gates` has `release.gates.min_recall`."""
    return [line for line in lines if not prefix or f"{line.name}.".startswith(f"{prefix}.")]


def _walk(
    model: type[BaseModel], values: dict[str, Any], defaults: dict[str, Any], prefix: str
) -> Iterator[SettingLine]:
    for key, field in model.model_fields.items():
        name, part = f"{prefix}{key}", field.annotation
        if isinstance(part, type) and issubclass(part, BaseModel):
            yield from _walk(part, values[key], defaults[key], f"{name}.")
        else:
            yield SettingLine(name, _without_secrets(values[key]), defaults[key], field.description or "")


def _without_secrets(value: Any) -> Any:  # noqa: ANN401
    """Return a value without the secrets that an address may contain, such as those of a storage root."""
    return redacted(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:  # noqa: ANN401
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else value
