"""Embeddings by the tower of the serving release, or of another one."""

from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile

from rayreel.client.messages import Embeddings, EmbedRequest
from rayreel.failures import Rejected
from serve_apps.content import content_of
from serve_apps.problems import answers
from serve_apps.service import CurrentService
from serve_apps.writing import refusal

router = APIRouter(tags=["embed"])


@router.post("/v1/embed", responses=answers(422, 429, 503, 504))
async def embed(query: EmbedRequest, service: CurrentService) -> Embeddings:
    """Embed up to 64 texts. The embeddings are in the order of the texts."""
    version = (await service.state.at(query.release)).version
    embeddings_BD = await service.encode("texts", query.texts, version)
    return Embeddings(release=version, dim=embeddings_BD.shape[1], embeddings=embeddings_BD.tolist())


@router.post("/v1/embed/upload", responses=answers(413, 422, 429, 503, 504))
async def embed_upload(
    service: CurrentService,
    file: Annotated[UploadFile, File(description="A video file.")],
    title: Annotated[str, Form(max_length=2000, description="Title of the video.")] = "",
) -> Embeddings:
    """Embed an uploaded video. The file is not stored."""
    version = service.state.current.version
    with content_of(file) as content:
        embedding_D = await service.encode.video("video", content, title.strip(), version, None)
    if isinstance(embedding_D, Rejected):
        raise refusal(embedding_D)
    return Embeddings(release=version, dim=len(embedding_D), embeddings=[embedding_D.tolist()])
