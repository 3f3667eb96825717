"""The HTTP API."""

from typing import Annotated

from fastapi import FastAPI, File, Form, UploadFile
from fastapi.responses import JSONResponse
from fastapi_offline import FastAPIOffline
from ray import serve
from ray.serve.handle import DeploymentHandle

import rayreel
from rayreel.failures import Rejected
from rayreel.index.collection import version_of
from serve_apps.messages import Ready, Recommendations, RecommendRequest, Result, TopK
from serve_apps.problems import RESPONSES, install, problem

MAX_UPLOAD_BYTES = 64 << 20

# Its documentation pages bring their scripts along: closed networks and content policies know no CDN.
ABOUT = "Content-based video recommendations."
api: FastAPI = FastAPIOffline(title="rayreel", version=rayreel.__version__, description=ABOUT, responses=RESPONSES)
install(api)


@serve.deployment(name="gateway")
@serve.ingress(api)
class Gateway:
    """Routes. Each request asks once which release serves and stays with it to the end."""

    def __init__(self, encode: DeploymentHandle, search: DeploymentHandle) -> None:
        self.encode, self.search = encode, search

    @api.get("/healthz", tags=["operation"])
    async def healthz(self) -> dict[str, str]:
        """Whether the gateway runs."""
        return {"status": "ok"}

    @api.get("/readyz", tags=["operation"])
    async def readyz(self) -> Ready:
        """Whether a release can be searched and queries be encoded for it; 503 while not."""
        collection = await self.search.collection.remote()
        version = version_of(collection)
        described = await self.encode.describe.remote(version)
        size = await self.search.count.remote(collection)
        return Ready(release=version, index_size=size, device=described.pop("device"), encoders=described)

    @api.post("/v1/recommend", tags=["recommend"])
    async def recommend(self, query: RecommendRequest) -> Recommendations:
        """Videos like a video of the index, never itself, or videos for a query in words."""
        collection = await self.search.collection.remote()
        version = version_of(collection)
        if query.video_id is not None:
            hits = await self.search.similar.remote(query.video_id, query.top_k, collection)
        else:
            embedding = await self.encode.text.remote(query.text, version)
            hits = await self.search.nearest.remote(embedding, query.top_k, collection)
        return Recommendations(release=version, results=[Result.of(hit) for hit in hits])

    @api.post("/v1/recommend/upload", tags=["recommend"], response_model=Recommendations)
    async def upload(
        self,
        file: Annotated[UploadFile, File(description="A video file.")],
        title: Annotated[str, Form(max_length=2000, description="Its title, if it has one.")] = "",
        top_k: Annotated[TopK, Form()] = 10,
    ) -> Recommendations | JSONResponse:
        """Videos like an uploaded one, which is not kept."""
        content = await file.read(MAX_UPLOAD_BYTES + 1)
        if len(content) > MAX_UPLOAD_BYTES:
            return problem(413, f"The file is larger than {MAX_UPLOAD_BYTES >> 20} MiB.")
        collection = await self.search.collection.remote()
        version = version_of(collection)
        embedding = await self.encode.video.remote(content, title.strip(), version)
        if isinstance(embedding, Rejected):
            return problem(422, f"{embedding.reason}: the file cannot be used as a video.")
        hits = await self.search.nearest.remote(embedding, top_k, collection)
        return Recommendations(release=version, results=[Result.of(hit) for hit in hits])
