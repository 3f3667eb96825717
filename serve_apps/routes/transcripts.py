"""What is said in the release's videos, as JSON or as subtitles."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse

from rayreel.client.messages import Passage, VideoTranscript
from rayreel.speech.captions import sub_rip, web_vtt
from rayreel.speech.transcript import Transcript
from serve_apps.problems import NotFound, answers
from serve_apps.service import CurrentService

router = APIRouter(tags=["videos"])
Form = Literal["json", "vtt", "srt"]
_TYPES: dict[str, Form] = {"text/vtt": "vtt", "application/x-subrip": "srt"}
_TEXT = {"schema": {"type": "string"}}
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"content": dict.fromkeys(_TYPES, _TEXT)}}


@router.get(
    "/v1/videos/{video_id:path}/transcript",
    response_model=VideoTranscript,
    responses=_ANSWERS | answers(404, 422, 503),
)
async def transcript(
    video_id: str,
    request: Request,
    service: CurrentService,
    format: Annotated[
        Form | None, Query(description="json, vtt (WebVTT) or srt (SubRip); by default, what Accept asks for.")
    ] = None,
) -> Response:
    """Return what is said in a video: segments with times."""
    live = service.state.current.live
    found = live.transcript(live.place(video_id))
    if not found.segments:
        raise NotFound("There is no transcript: nothing is said in the video, or its speech was not recognised.")
    return _in_form(video_id, found, format or _asked(request))


def _asked(request: Request) -> Form:
    """Return the first known type that the client accepts. JSON if there is none."""
    accepted = (part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(","))
    return next((_TYPES.get(kind, "json") for kind in accepted if kind in {*_TYPES, "application/json"}), "json")


def _in_form(video_id: str, found: Transcript, form: Form) -> Response:
    vary = {"vary": "Accept"}
    if form == "vtt":
        return Response(web_vtt(found.segments), media_type="text/vtt", headers=vary)
    if form == "srt":
        return Response(sub_rip(found.segments), media_type="application/x-subrip", headers=vary)
    segments = [Passage(start_s=s.start_s, end_s=s.end_s, text=s.text) for s in found.segments]
    whole = VideoTranscript(video_id=video_id, language=found.language, text=found.text, segments=segments)
    return JSONResponse(whole.model_dump(), headers=vary)
