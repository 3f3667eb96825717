"""OpenAPI description of the middleware: API keys, and the errors that any request may return."""

from typing import Any

from fastapi import FastAPI

from rayreel.client.messages import Problem
from serve_apps.problems import answers
from serve_apps.scopes import scope_of

_STATUSES = (400, 401, 403, 413, 429, 500, 503)


def describe_middleware(app: FastAPI) -> None:
    """Add API keys and the errors of the middleware to the application's OpenAPI description."""
    make = app.openapi

    def described() -> dict[str, Any]:
        schema = make()
        parts = schema.setdefault("components", {})
        parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "rr_…"}}
        parts.setdefault("schemas", {}).setdefault("Problem", Problem.model_json_schema())
        refusals = {str(status): answer for status, answer in answers(*_STATUSES).items()}
        for path, operations in schema["paths"].items():
            for method, operation in operations.items():
                operation["responses"] = {**refusals, **operation["responses"]}
                # FastAPI's default description, which does not match our handler.
                if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                    operation["responses"]["422"] = answers(422)[422]
                if scope_of(method.upper(), path) is not None:
                    operation["security"] = [{"key": []}, {}]
        return schema

    app.openapi = described  # type: ignore[method-assign]
