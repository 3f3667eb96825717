"""Multipart forms: a video file, and the fields of a message."""

import json
from collections.abc import Callable, Collection
from functools import cache
from typing import Any, TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

M = TypeVar("M", bound=BaseModel)

_FILE = {"type": "string", "format": "binary", "description": "A video file."}


def form_of(kind: type[BaseModel], without: Collection[str] = ()) -> dict[str, Any]:
    """Return the OpenAPI description of a form with a file and the fields of a message, except those in `without`."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    fields = {name: _described(field) for name, field in schema["properties"].items() if name not in without}
    form = {"type": "object", "required": ["file"], "properties": {"file": _FILE, **fields}}
    return {"multipart/form-data": {"schema": form | {key: schema[key] for key in ("allOf",) if key in schema}}}


def file_of(form: FormData) -> UploadFile:
    """Return the file of a form. Raises RequestValidationError."""
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise _invalid("file", "Send a video file in the form field `file`")
    return file


def message_of(kind: type[M], form: FormData, **given: str) -> M:
    """Return the fields of a form besides its file as a message; those `given` replace the form's.

    Texts are taken as they are, lists may be repeated, and all other values are JSON. Raises RequestValidationError.
    """
    types = _types_of(kind)
    fields = {name: _value(form, name, types.get(name, {"string"})) for name in form if name != "file"}
    return valid(lambda: kind.model_validate({**fields, **given}))


def valid(make: Callable[[], M]) -> M:
    """Return a message of a request body. Raises RequestValidationError."""
    try:
        return make()
    except ValidationError as error:
        raise RequestValidationError([{**e, "loc": ("body", *e["loc"])} for e in error.errors()]) from error


@cache
def _types_of(kind: type[BaseModel]) -> dict[str, set[str]]:
    return {name: _types(field) for name, field in kind.model_json_schema()["properties"].items()}


def _types(field: dict[str, Any]) -> set[str]:
    """Return the JSON types of a field besides null."""
    return {option.get("type", "object") for option in field.get("anyOf", [field])} - {"null"}


def _value(form: FormData, name: str, types: set[str]) -> Any:  # noqa: ANN401 - of any field
    if types == {"array"}:
        return form.getlist(name)
    value = form[name]
    if types == {"string"}:
        return value
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise _invalid(name, "Input should be valid JSON") from None


def _described(field: dict[str, Any]) -> dict[str, Any]:
    """Return a field as it is sent in a form: objects as texts with JSON."""
    if _types(field) != {"object"}:
        return field
    described: dict[str, Any] = {key: field[key] for key in ("title", "description") if key in field}
    return described | {"type": "string", "contentMediaType": "application/json", "contentSchema": field}


def _invalid(name: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"type": "form", "loc": ("body", name), "msg": message, "input": None}])
