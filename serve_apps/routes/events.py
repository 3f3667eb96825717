"""Events of people: what they saw and did."""

import time
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from rayreel.client.events import Event, EventBatch, RefusedEvent, StoredEvents
from rayreel.events.write import row_of
from rayreel.recommendation.live import Live
from serve_apps.forms import valid
from serve_apps.problems import BadEvent, answers, problem
from serve_apps.service import CurrentService

router = APIRouter(tags=["people"])

_EVENTS = TypeAdapter(list[Event])
_DELETED = "its user was deleted after this event. Events of later times are stored."
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [Event.model_json_schema(), EventBatch.model_json_schema()]}}
        },
    }
}


@router.post(
    "/v1/events", response_model=StoredEvents, openapi_extra=_BODY, responses=answers(413, 415, 422, 429, 503, 504)
)
async def add_events(request: Request, service: CurrentService) -> Response:
    """Store an event, or up to 1000. They are on disk when the response arrives; repeated ids are stored once.

    Of several events, the valid ones are stored, and the response names the others. If none is valid, it is 422.
    """
    if not request.headers.get("content-type", "").lower().startswith("application/json"):
        return problem(415, "Unsupported content type. Send application/json.", request)
    live, refused, now = service.state.current.live, dict[int, str](), time.time()
    parsed = _parsed(await request.body(), refused)
    refused |= {place: _unknown(live, event) for place, event in parsed.items() if event.video_id not in live}
    places = [place for place in parsed if place not in refused]
    rows = [row_of(parsed[place], now) for place in places]
    written = await service.people.add(rows)
    refused |= {places[row]: _DELETED for row in written.deleted}
    if not written.stored and not written.duplicates:
        errors = [{"where": f"events.{place}", "what": what} for place, what in sorted(refused.items())]
        return problem(422, "; ".join(f"{e['where']}: {e['what']}" for e in errors[:10]), request, errors=errors)
    ids = {place: event.event_id for place, event in parsed.items()}
    named = [RefusedEvent(index=place, event_id=ids.get(place), error=what) for place, what in sorted(refused.items())]
    result = StoredEvents(stored=written.stored, duplicates=written.duplicates, refused=named)
    return JSONResponse(result.model_dump())


def _parsed(body: bytes, refused: dict[int, str]) -> dict[int, Event]:
    """Return the valid events by place, and add what is wrong with the others to `refused`."""
    try:
        content = from_json(body)
    except ValueError as error:
        raise BadEvent(f'The body is not JSON: {error}. Send an event, or {{"events": [...]}}.') from None
    if not isinstance(content, dict) or "events" not in content:
        return {0: valid(lambda: Event.model_validate(content))}
    rows = valid(lambda: EventBatch.model_validate(content)).events
    try:
        return dict(enumerate(_EVENTS.validate_python(rows)))
    except ValidationError as error:
        for wrong in error.errors():
            place, *field = wrong["loc"]
            what = f"{'.'.join(map(str, field))}: " if field else ""
            what += wrong["msg"].removeprefix("Value error, ")
            refused[int(place)] = f"{refused[int(place)]}; {what}" if place in refused else what
    return {place: Event.model_validate(row) for place, row in enumerate(rows) if place not in refused}


def _unknown(live: Live, event: Event) -> str:
    return f"video_id: {event.video_id!r} is not in release {live.version}."
