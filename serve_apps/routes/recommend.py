"""Recommendations by video, text, embedding, user or uploaded file, and the fast path that needs only memory."""

import uuid
from dataclasses import replace
from time import perf_counter
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayreel.client.messages import Recommendations, RecommendRequest, UploadQuery
from rayreel.errors import RayreelError
from rayreel.failures import Rejected
from rayreel.recommendation.query import Options, Vector
from rayreel.recommendation.recommend import by_id_fast, by_vector, check_request, options_of, space_of
from rayreel.recommendation.recommend import recommend as answer
from rayreel.recommendation.reranking import reranked, texts_of, with_candidates
from rayreel.recommendation.results import RankedResults, RankedVideo
from rayreel.recommendation.wording import as_searched, corrections, encoded_text
from serve_apps.content import Content, content_of
from serve_apps.forms import file_of, form_of, message_of
from serve_apps.known import articles_of, recommend_known
from serve_apps.problems import answers
from serve_apps.service import CurrentService, Service
from serve_apps.serving import Serving
from serve_apps.shown import links
from serve_apps.writing import refusal

router = APIRouter(tags=["recommend"])
ROUTE = "/v1/recommend"
# The most excluded ids, and the other fields.
MAX_FIELDS = 1100


@router.post("/v1/recommend", response_model=Recommendations, responses=answers(404, 422, 429, 503, 504))
async def recommend(query: RecommendRequest, request: Request, service: CurrentService) -> Response:
    """Recommend videos similar to a video of the index (never itself), a text or an embedding, or for a user."""
    if query.recommendation_id is not None or (query.user is not None and query.user.is_known):
        found, kept = await recommend_known(service, query)
        content = rendered(found, experiment=kept.experiment, arm=kept.arm)
        return Response(named(content, kept.recommendation_id), media_type="application/json")
    serving = await service.state.at(query.release)
    content = rendered(await _recommend(service, serving, query))
    if query.scenario is None and query.release is None:  # scenarios may change, and which release serves
        service.state.answers.put(serving.live.state, await request.body(), content)
    return Response(named(content), media_type="application/json")


@router.post(
    "/v1/recommend/upload",
    response_model=Recommendations,
    openapi_extra={"requestBody": {"required": True, "content": form_of(UploadQuery)}},
    responses=answers(413, 422, 429, 503, 504),
)
async def recommend_upload(request: Request, service: CurrentService) -> Response:
    """Recommend videos similar to an uploaded one, which is not stored. Takes the same options as other queries."""
    async with request.form(max_files=1, max_fields=MAX_FIELDS) as form:
        file, query = file_of(form), message_of(UploadQuery, form)
        serving = await service.state.at(query.release)
        options = await service.scenarios.options(query, service.settings)
        with content_of(file) as content:
            query_D = await _encoded(service, serving, content, query.title, options)
    if isinstance(query_D, Rejected):
        raise refusal(query_D)
    found = await service.search(serving, lambda release: by_vector(release, query_D, options, query.title))
    return Response(named(rendered(found)), media_type="application/json")


async def _encoded(
    service: Service, serving: Serving, content: Content, title: str, options: Options
) -> Vector | Rejected:
    if options.space is None:
        return await service.encode.video("video", content, title, serving.version, options.weights)  # type: ignore[no-any-return]
    serving.live.space(options.space.modality)  # before the file is decoded
    return await service.encode.video("video_in", content, title, serving.version, options.space.modality)  # type: ignore[no-any-return]


async def _recommend(service: Service, serving: Serving, query: RecommendRequest) -> RankedResults:
    text_D = None
    check_request(serving.live, query)
    await service.scenarios.options(query, service.settings)  # before the encoders are asked
    query, searched = as_searched(query, await _corrections(service, serving, query))
    wanted = with_candidates(query, service.settings.recommend) if query.rerank else query
    space = space_of(query)
    if query.text is not None and space is None:
        text_D = (await service.encode("texts", [encoded_text(query)], serving.version))[0]
    elif query.text is not None and space is not None:
        text_D = await service.encode("words_in", query.text, serving.version, space.modality)
    articles = await articles_of(service, serving, query.user)
    found = await service.search(serving, lambda release: answer(release, wanted, text_D, articles))
    found = replace(found, searched=searched)
    return await _reranked(service, serving, query, found) if query.rerank else found


async def _corrections(service: Service, serving: Serving, query: RecommendRequest) -> dict[str, str]:
    """Return what words of a query are replaced by: those that neither the videos nor the text encoder know."""
    if not query.hybrid or query.text is None:
        return {}
    found = await service.searching(corrections, serving.live, query, service.settings.recommend)
    known = await service.encode("known", list(found), serving.version) if found else []
    return {word: nearest for (word, nearest), real in zip(found.items(), known, strict=True) if not real}


async def _reranked(service: Service, serving: Serving, query: RecommendRequest, found: RankedResults) -> RankedResults:
    started, text = perf_counter(), encoded_text(query)
    texts = (await service.searching(texts_of, serving.live, found, text))[: service.settings.recommend.reranked]
    scores = await service.encode("rerank", text, texts)
    return reranked(found, scores.tolist(), query.top_k, perf_counter() - started)


def rendered(found: RankedResults, **more: str | None) -> bytes:
    """Return the JSON of `rayreel.client.messages.Recommendations`, without the id of the answer."""
    every = {**more, "reranking_ms": found.reranking_ms, "searched": found.searched}
    known = {name: value for name, value in every.items() if value is not None}
    return to_json({"release": found.release, "results": [_result(video) for video in found], **known})


def named(content: bytes, recommendation_id: str | None = None) -> bytes:
    """Return a rendered answer with its id, by default a new one: cached answers have one for each request."""
    return b'{"recommendation_id":"%s",%s' % ((recommendation_id or uuid.uuid4().hex).encode(), content[1:])


def _result(video: RankedVideo) -> dict[str, Any]:
    result: dict[str, Any] = {
        "video_id": video.video_id,
        "score": round(video.score, 6),
        "title": video.title,
        "category": video.category,
        "tags": video.tags,
        "metadata": video.extra,
        "has_video": video.has_video,
        **links(video.video_id, video.content_hash, has_video=video.has_video),
    }
    if video.cosine is not None:
        result["cosine"] = round(video.cosine, 6)
    if video.reranked is not None:
        result["reranked"] = round(video.reranked, 6)
    if video.propensity is not None:
        result["propensity"] = round(video.propensity, 6)
    if video.explanation is not None:
        result["explanation"] = video.explanation._asdict()
    return result


class FastPath:
    """ASGI: answers `POST /v1/recommend` if that needs only this process's memory.

    All other requests, and invalid ones, are passed to the application.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on with its body."""
        if scope["type"] != "http" or scope["path"] != ROUTE or scope["method"] != "POST" or not _is_json(scope):
            await self.app(scope, receive, send)
            return
        messages: list[Message] = [await receive()]
        while messages[-1].get("more_body"):
            messages.append(await receive())
        content = self._from_memory(b"".join(message.get("body", b"") for message in messages))
        if content is not None:
            scope["rayreel_route"] = ROUTE
            await _send(send, named(content))
            return
        waiting = iter(messages)

        async def receive_again() -> Message:
            return next(waiting, None) or await receive()

        await self.app(scope, receive_again, send)

    def _from_memory(self, body: bytes) -> bytes | None:
        try:
            serving = self.service.state.current
            cache, state = self.service.state.answers, serving.live.state
            cached = cache.get(state, body)
            self.service.metrics.looked_up(hit=cached is not None)
            if cached is not None:
                return cached
            query = RecommendRequest.model_validate_json(body)
            if query.video_id is None or query.scenario is not None:
                return None
            pinned = self.service.state.ready(query.release)
            if pinned is None:
                return None
            options = options_of(query, self.service.settings.recommend)
            found = by_id_fast(pinned.live, query.video_id, options)
        except (ValidationError, RayreelError):  # the application reports it
            return None
        if found is None:
            return None
        content = rendered(found)
        if query.release is None:
            cache.put(state, body, content)
        return content


def _is_json(scope: Scope) -> bool:
    return any(name == b"content-type" and value.startswith(b"application/json") for name, value in scope["headers"])


async def _send(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
