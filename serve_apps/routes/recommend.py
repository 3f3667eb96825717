"""Recommendations by video, text, embedding, user or uploaded file."""

from typing import Annotated

from fastapi import APIRouter, File, Form, Request, Response, UploadFile

from rayreel.client.messages import Recommendations, RecommendRequest, TopK
from rayreel.failures import Rejected
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import by_vector
from rayreel.recommendation.request import check_request
from rayreel.recommendation.request import recommend as answer
from rayreel.recommendation.results import RankedResults
from serve_apps.content import content_of
from serve_apps.problems import answers
from serve_apps.render import rendered
from serve_apps.service import CurrentService, Service
from serve_apps.state import Serving
from serve_apps.writing import refusal

router = APIRouter(tags=["recommend"])


@router.post("/v1/recommend", response_model=Recommendations, responses=answers(404, 422, 429, 503, 504))
async def recommend(query: RecommendRequest, request: Request, service: CurrentService) -> Response:
    """Recommend videos similar to a video of the index (never itself), a text or an embedding, or for a user."""
    serving = service.state.current
    content = rendered(await _recommend(service, serving, query))
    service.state.answers.put(serving.live.state, await request.body(), content)
    return Response(content, media_type="application/json")


@router.post("/v1/recommend/upload", response_model=Recommendations, responses=answers(413, 422, 429, 503, 504))
async def recommend_upload(
    service: CurrentService,
    file: Annotated[UploadFile, File(description="A video file.")],
    title: Annotated[str, Form(max_length=2000, description="Title of the video.")] = "",
    top_k: Annotated[TopK, Form()] = 10,
) -> Response:
    """Recommend videos similar to an uploaded one. The file is not stored."""
    serving = service.state.current
    with content_of(file) as content:
        query_D = await service.encode.video("video", content, title.strip(), serving.version)
    if isinstance(query_D, Rejected):
        raise refusal(query_D)
    options = Options(top_k=top_k)
    found = await service.search(serving, lambda release: by_vector(release, query_D, options))
    return Response(rendered(found), media_type="application/json")


async def _recommend(service: Service, serving: Serving, query: RecommendRequest) -> RankedResults:
    text_D = None
    check_request(serving.live, query)
    if query.text is not None:
        text_D = (await service.encode("texts", [query.text], serving.version))[0]
    return await service.search(serving, lambda release: answer(release, query, text_D))
