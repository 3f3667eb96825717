"""The security middleware, around an application that answers all paths."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi.testclient import TestClient

from rayreel.access.keyfile import KeyFile
from rayreel.access.keys import Scope, new_key
from rayreel.client.messages import Problem
from rayreel.settings import Settings, load_settings
from rayreel.storage import Storage
from serve_apps.scopes import scope_of
from serve_apps.security import protect

OPEN = "0.0.0.0"
PROBLEM = "application/problem+json"


def application(settings: Settings, host: str) -> TestClient:
    app = FastAPI()

    @app.get("/page")
    def page() -> HTMLResponse:
        return HTMLResponse("<p>a page</p>")

    @app.get("/v1/fault")
    def fault() -> None:
        raise ZeroDivisionError("secret words")

    @app.get("/v1/number/{number}")
    def number(number: int) -> int:
        return number

    @app.post("/v1/echo")
    async def echo(request: Request) -> dict[str, object]:
        return {"bytes": len(await request.body()), "id": request.state.request_id}

    @app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"], include_in_schema=False)
    def anything(path: str) -> dict[str, str]:
        return {"path": path}

    protect(app, settings, host)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    sets = ["serve.rate_per_s=1000", "serve.refresh_s=0.01", "serve.max_body_bytes=4000", "serve.max_json_bytes=1000"]
    return load_settings(sets=[*sets, 'serve.cors_origins=["https://app.example"]'], storage=str(tmp_path))


@pytest.fixture
def keys(tmp_path: Path) -> dict[Scope, str]:
    """One key of each scope, stored in the service's key file."""
    file, texts = KeyFile(Storage(tmp_path)), {}
    for scope in Scope:
        texts[scope], key = new_key(scope.name, scope)
        file.add(key)
    return texts


@pytest.fixture
def local(settings: Settings) -> Iterator[TestClient]:
    """A service that listens on loopback."""
    with application(settings, "127.0.0.1") as client:
        yield client


@pytest.fixture
def open_to_all(settings: Settings) -> Iterator[TestClient]:
    """A service that listens on all interfaces."""
    with application(settings, OPEN) as client:
        yield client


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


REQUESTS = [
    ("GET", "/v1/videos", Scope.READ),
    ("GET", "/v1/videos/a/b", Scope.READ),
    ("GET", "/v1/release", Scope.READ),
    ("GET", "/v1/releases", Scope.READ),
    ("POST", "/v1/recommend", Scope.READ),
    ("POST", "/v1/recommend/upload", Scope.READ),
    ("POST", "/v1/embed", Scope.READ),
    ("GET", "/v1/videos/a/poster", Scope.READ),
    ("GET", "/v1/facets", Scope.READ),
    ("GET", "/v1/operations", Scope.WRITE),
    ("POST", "/v1/releases/rollback", Scope.ADMIN),
    ("POST", "/v1/quarantine/retry", Scope.ADMIN),
    ("GET", "/v1/jobs/x", Scope.WRITE),
    ("DELETE", "/v1/jobs/x", Scope.WRITE),
    ("POST", "/v1/videos", Scope.WRITE),
    ("POST", "/v1/videos/batch", Scope.WRITE),
    ("DELETE", "/v1/videos/a", Scope.WRITE),
    ("DELETE", "/v1/videos", Scope.ADMIN),
    ("DELETE", "/v1/videos/", Scope.ADMIN),
    ("POST", "/v1/recommendations", Scope.ADMIN),
    ("DELETE", "/v1/release", Scope.ADMIN),
    ("POST", "/anything", Scope.ADMIN),
]


@pytest.mark.parametrize(("method", "path", "needed"), REQUESTS)
def test_each_request_needs_exactly_its_scope(
    open_to_all: TestClient, keys: dict[Scope, str], method: str, path: str, needed: Scope
) -> None:
    assert scope_of(method, path) is needed
    assert open_to_all.request(method, path).status_code == 401
    for scope, key in keys.items():
        answer = open_to_all.request(method, path, headers=bearer(key))
        assert answer.status_code == (200 if scope >= needed else 403), scope
        if answer.status_code == 403:
            assert needed.name.lower() in Problem.model_validate(answer.json()).detail


def test_only_the_exact_webhook_route_needs_no_key() -> None:
    assert scope_of("POST", "/v1/mlflow/webhook") is None
    for method, path in [("POST", "/v1/mlflow/webhook/"), ("POST", "/v1/mlflow"), ("DELETE", "/v1/mlflow/webhook")]:
        assert scope_of(method, path) is Scope.ADMIN


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/"])
def test_health_checks_and_pages_need_no_key(open_to_all: TestClient, path: str) -> None:
    assert open_to_all.get(path).status_code == 200


def test_on_loopback_no_key_is_needed(local: TestClient) -> None:
    assert local.delete("/v1/videos").status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost:8000", 200),
        ("[::1]:8000", 200),
        ("app.localhost", 200),
        ("evil.example", 403),
        ("evil.example:8000", 403),
        ("127.0.0.1.evil.example:80", 403),
    ],
)
def test_without_keys_foreign_host_names_are_refused(local: TestClient, host: str, status: int) -> None:
    assert local.get("/v1/release", headers={"Host": host}).status_code == status


def test_with_require_keys_false_any_host_name_is_accepted(settings: Settings) -> None:
    trusting = settings.model_copy(update={"serve": settings.serve.model_copy(update={"require_keys": False})})
    with application(trusting, OPEN) as client:
        assert client.delete("/v1/videos", headers={"Host": "videos.example"}).status_code == 200


def test_without_keys_other_sites_pages_cannot_send_writes(local: TestClient) -> None:
    cross = {"Sec-Fetch-Site": "cross-site"}
    assert local.post("/v1/videos", headers={**cross, "Origin": "https://evil.example"}).status_code == 403
    assert local.post("/v1/videos", headers={**cross, "Origin": "https://app.example"}).status_code == 200
    assert local.post("/v1/videos", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert local.get("/docs", headers=cross).status_code == 200


def test_with_keys_any_host_name_is_accepted(open_to_all: TestClient, keys: dict[Scope, str]) -> None:
    headers = {**bearer(keys[Scope.READ]), "Host": "videos.example", "Sec-Fetch-Site": "cross-site"}
    assert open_to_all.post("/v1/recommend", headers=headers).status_code == 200


def test_a_key_is_accepted_in_either_header_but_not_in_the_url(open_to_all: TestClient, keys: dict[Scope, str]) -> None:
    key = keys[Scope.READ]
    assert open_to_all.get("/v1/release", headers={"X-API-Key": key}).status_code == 200
    assert open_to_all.get("/v1/release", headers={"Authorization": f"bearer {key}"}).status_code == 200
    assert open_to_all.get("/v1/release", params={"api_key": key, "key": key}).status_code == 401


def test_a_revoked_key_is_refused_while_the_service_runs(
    open_to_all: TestClient, keys: dict[Scope, str], tmp_path: Path
) -> None:
    headers = bearer(keys[Scope.READ])
    assert open_to_all.get("/v1/release", headers=headers).status_code == 200
    KeyFile(Storage(tmp_path)).expire(keys[Scope.READ].split("_")[1], time.time())
    time.sleep(0.1)
    refused = open_to_all.get("/v1/release", headers=headers)
    assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"


def test_unreadable_keys_make_the_service_refuse_every_request(open_to_all: TestClient, tmp_path: Path) -> None:
    (tmp_path / "access").mkdir()
    (tmp_path / "access" / "keys.json").write_text("[{")
    answer = open_to_all.get("/v1/release", headers=bearer(new_key("a", Scope.ADMIN)[0]))
    assert answer.status_code == 503 and answer.headers["retry-after"] == "1"


def test_a_key_over_its_rate_gets_429_with_retry_after(settings: Settings, keys: dict[Scope, str]) -> None:
    slow = settings.model_copy(update={"serve": settings.serve.model_copy(update={"rate_per_s": 0.1, "burst": 2})})
    with application(slow, OPEN) as client:
        answers = [client.get("/v1/release", headers=bearer(keys[Scope.READ])) for _ in range(3)]
        other = client.get("/v1/release", headers=bearer(keys[Scope.ADMIN]))
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 10
    assert other.status_code == 200


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "multipart/form-data; boundary=x"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused_regardless_of_its_declared_length(
    local: TestClient, kind: str, chunked: bool
) -> None:
    limit = 4000 if kind.startswith("multipart") else 1000

    def post(size: int) -> int:
        pieces = (b"x" * 100 for _ in range(size // 100))
        content = pieces if chunked else b"x" * size
        answer = local.post("/v1/echo", content=content, headers={"Content-Type": kind})
        if answer.status_code == 413:
            assert f"{limit:,}" in answer.json()["detail"]
        return answer.status_code

    assert (post(limit), post(limit + 100)) == (200, 413)


def test_every_response_has_the_request_id_that_the_handler_sees(local: TestClient) -> None:
    first, second = local.post("/v1/echo"), local.post("/v1/echo")
    assert first.headers["x-request-id"] == first.json()["id"] != second.json()["id"]


def test_only_a_safe_request_id_of_the_client_is_kept(local: TestClient) -> None:
    assert local.get("/v1/a", headers={"X-Request-Id": "trace-1/2"}).headers["x-request-id"] == "trace-1/2"
    for bad in ("x" * 129, "a b", "<script>", ""):
        assert local.get("/v1/a", headers={"X-Request-Id": bad}).headers["x-request-id"] != bad


def test_an_unexpected_error_is_answered_without_its_message(local: TestClient) -> None:
    answer = local.get("/v1/fault")
    assert answer.status_code == 500 and answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert Problem.model_validate(answer.json()).instance == answer.headers["x-request-id"]


@pytest.mark.parametrize("path", ["/v1/release", "/v1/fault", "/page", "/docs"])
def test_every_response_has_security_headers(local: TestClient, path: str) -> None:
    headers = local.get(path).headers
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    policy = headers["content-security-policy"]
    assert ("default-src 'none'" in policy) == path.startswith("/v1/")
    assert "frame-ancestors 'none'" in policy


def test_refusals_have_security_headers_and_cors_headers_for_allowed_origins(open_to_all: TestClient) -> None:
    refused = open_to_all.get("/v1/release", headers={"Origin": "https://app.example"})
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://app.example"
    assert refused.headers["x-content-type-options"] == "nosniff" and refused.headers["x-request-id"]
    other = open_to_all.get("/v1/release", headers={"Origin": "https://other.example"})
    assert "access-control-allow-origin" not in other.headers


def test_a_cors_preflight_needs_no_key(open_to_all: TestClient) -> None:
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    answer = open_to_all.options("/v1/recommend", headers={"Origin": "https://app.example", **asking})
    assert answer.status_code == 200
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    assert open_to_all.options("/v1/recommend", headers={"Origin": "https://x.org", **asking}).status_code == 400


def test_no_secret_is_logged(open_to_all: TestClient, keys: dict[Scope, str], caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    for path in ("/v1/fault", "/v1/release"):
        open_to_all.get(path, headers=bearer(keys[Scope.READ]))
        open_to_all.get(path, headers=bearer(new_key("a", Scope.READ)[0]))
    assert "rr_" not in caplog.text and "failed" in caplog.text


def test_openapi_describes_keys_and_refusals(open_to_all: TestClient) -> None:
    schema = open_to_all.get("/openapi.json").json()
    assert schema["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    operation = schema["paths"]["/v1/echo"]["post"]
    assert operation["security"] and {"401", "403", "413", "429"} <= set(operation["responses"])
    assert "security" not in schema["paths"]["/page"]["get"]
    assert set(schema["paths"]["/v1/number/{number}"]["get"]["responses"]["422"]["content"]) == {PROBLEM}
    assert json.dumps(schema).count("#/$defs") == 0


def test_an_error_during_a_response_is_raised_rather_than_answered(settings: Settings) -> None:
    app = FastAPI()

    @app.get("/v1/stream")
    async def stream() -> object:
        from fastapi.responses import StreamingResponse

        def pieces() -> Iterator[bytes]:
            yield b"some"
            raise ValueError("broken")

        return StreamingResponse(pieces())

    protect(app, settings, "127.0.0.1")
    with TestClient(app) as client, pytest.raises(ValueError, match="broken"):
        client.get("/v1/stream")


def test_a_cookie_is_a_key_for_reading_only(open_to_all: TestClient, keys: dict[Scope, str]) -> None:
    cookie = {"Cookie": f"other=1; rayreel_key={keys[Scope.ADMIN]}"}
    assert open_to_all.get("/v1/videos/a/poster", headers=cookie).status_code == 200
    assert open_to_all.get("/v1/videos/a/poster", headers={"Cookie": "rayreel_key=rr_x"}).status_code == 401
    for method in ("POST", "DELETE"):
        assert open_to_all.request(method, "/v1/videos/a", headers=cookie).status_code == 401
