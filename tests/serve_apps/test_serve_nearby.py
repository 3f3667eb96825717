"""Requests without a key: from local programs and pages, through proxies, from other sites' pages."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from ports import free_port
from rayreel.access.keyfile import KeyFile
from rayreel.access.keys import Scope, new_key
from rayreel.settings import load_settings
from rayreel.storage import Storage
from serve_apps.nearby import forwarded_by, is_for_this_machine, is_from_another_site
from serve_apps.security import protect

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def request(method: str = "POST", version: str = "1.1", **headers: str) -> dict[str, object]:
    raw = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "method": method, "http_version": version, "headers": raw}


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-Port",
        "X-Forwarded-Server",
        "X-Forwarded-Anything",
        "Forwarded",
        "Via",
        "X-Real-IP",
        "CF-Connecting-IP",
        "CF-Ray",
        "True-Client-IP",
        "X-Client-IP",
        "X-Cluster-Client-IP",
        "X-Original-Host",
        "X-Envoy-External-Address",
        "Fly-Client-IP",
        "Tailscale-User-Login",
        "CDN-Loop",
    ],
)
def test_headers_of_proxies_are_recognised(header: str) -> None:
    assert forwarded_by(request(**{header: ""})) == f"the header {header.lower()}"


def test_headers_of_local_programs_and_browsers_are_no_sign_of_a_proxy() -> None:
    usual = {
        "Host": "127.0.0.1:8000",
        "User-Agent": "curl/8",
        "Accept": "*/*",
        "Origin": "http://localhost:3000",
        "Referer": "http://localhost:3000/",
        "Sec-Fetch-Site": "same-site",
        "Cookie": "a=b",
        "X-Request-Id": "1",
        "X-Request-Timeout": "3",
        "X-Amzn-Trace-Id": "Root=1",
        "Traceparent": "00-1-1-01",
        "X-Request-Disconnect-Disabled": "?1",
    }
    assert forwarded_by(request(**usual)) is None
    assert forwarded_by(request(version="1.0", **usual)) == "HTTP/1.0"


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1:8000", True),
        ("127.0.0.2", True),
        ("[::1]:8000", True),
        ("localhost", True),
        ("LOCALHOST:8000", True),
        ("app.localhost:1", True),
        ("rayreel", True),
        ("evil.example", False),
        ("evil.example.", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example", False),
        ("203.0.113.5:8000", False),
        ("192.168.1.5", False),
        ("0.0.0.0:8000", False),
        ("[2001:db8::1]:8000", False),
        ("[::1].evil.example", False),
    ],
)
def test_a_name_that_others_can_register_is_not_this_machine(host: str, is_ours: bool) -> None:
    assert is_for_this_machine([(b"host", host.encode())]) is is_ours


SITES = [
    ({}, False),
    ({"Sec-Fetch-Site": "none"}, False),
    ({"Sec-Fetch-Site": "same-origin"}, False),
    ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}, False),
    ({"Sec-Fetch-Site": "cross-site"}, True),
    ({"Sec-Fetch-Site": "something-new"}, True),
    ({"Sec-Fetch-Site": "cross-site", "Origin": "https://app.example"}, False),
    ({"Origin": "https://app.example"}, False),
    ({"Origin": "https://evil.example"}, True),
    ({"Origin": "https://app.example.evil"}, True),
    ({"Origin": "http://localhost.evil.example"}, True),
    ({"Origin": "http://127.0.0.1:3000"}, False),
    ({"Origin": "http://[::1]:3000"}, False),
    ({"Origin": "null"}, True),
    ({"Origin": ""}, True),
    ({"Referer": "https://evil.example/page"}, True),
    ({"Referer": "https://app.example/page"}, False),
    ({"Referer": "http://localhost:8000/docs"}, False),
    ({"Sec-Fetch-Site": "same-origin", "Origin": "https://evil.example"}, True),
]


@pytest.mark.parametrize(("headers", "is_foreign"), SITES)
def test_a_request_from_another_sites_page_is_recognised_in_any_browser(
    headers: dict[str, str], is_foreign: bool
) -> None:
    assert is_from_another_site(request(**headers), {b"https://app.example"}) is is_foreign
    assert not is_from_another_site(request("GET", **headers), ())


@contextmanager
def serving(storage: Path) -> Iterator[int]:
    """Run a service without keys on 127.0.0.1 that answers all paths, and yield its port."""
    app = FastAPI()

    @app.api_route("/{path:path}", methods=["GET", "POST", "DELETE"])
    def anything(path: str) -> str:
        return path

    protect(app, load_settings(storage=str(storage), sets=["serve.refresh_s=0.01"]), "127.0.0.1")
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    _wait(f"http://127.0.0.1:{port}/healthz")
    yield port
    server.should_exit = True
    thread.join()


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


@pytest.fixture
def behind_nginx(storage: Path, tmp_path: Path) -> Iterator[Callable[[str], str]]:
    """Return a function that starts nginx with additional directives in front of the service and returns its URL."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    started: list[subprocess.Popen[bytes]] = []
    with serving(storage) as service:

        def start(directives: str) -> str:
            port, folder = free_port(), tmp_path / f"nginx{len(started)}"
            folder.mkdir()
            temporary = " ".join(
                f"{name}_temp_path {folder};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
            )
            (folder / "nginx.conf").write_text(
                f"daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
                f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port};\n"
                f"location / {{ proxy_pass http://127.0.0.1:{service}; {directives} }} }} }}\n"
            )
            words = [NGINX, "-c", str(folder / "nginx.conf"), "-p", str(folder), "-e", str(folder / "error.log")]
            started.append(subprocess.Popen(words))
            _wait(f"http://127.0.0.1:{port}/healthz")
            return f"http://127.0.0.1:{port}"

        yield start
        for process in started:
            process.terminate()
            process.wait()


def _wait(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            httpx.get(url, trust_env=False)
            return
        except httpx.TransportError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


HTTP_1_1 = "proxy_http_version 1.1; proxy_set_header"
DIRECTIVES = {
    "default": "",
    "with the client's address": f"{HTTP_1_1} X-Forwarded-For $proxy_add_x_forwarded_for;",
    "with the client's host": f"{HTTP_1_1} Host $host; proxy_set_header X-Real-IP $remote_addr;",
}


@pytest.mark.parametrize("directives", DIRECTIVES.values(), ids=DIRECTIVES)
def test_requests_through_a_local_reverse_proxy_need_a_key(
    behind_nginx: Callable[[str], str], storage: Path, directives: str
) -> None:
    url = behind_nginx(directives)
    text, key = new_key("a", Scope.READ)
    with closing(httpx.Client(base_url=url, trust_env=False)) as client:
        for method, path in (("GET", "/v1/videos"), ("POST", "/v1/videos"), ("DELETE", "/v1/videos?confirm=1")):
            refused = client.request(method, path)
            assert refused.status_code == 403
            assert refused.headers["content-type"] == "application/problem+json"
            assert "keys create" in refused.json()["detail"]
        KeyFile(Storage(storage)).add(key)
        time.sleep(0.1)
        authorized = {"Authorization": f"Bearer {text}"}
        assert client.get("/v1/videos", headers=authorized).status_code == 200
        assert client.post("/v1/videos", headers=authorized).status_code == 403
        assert client.get("/v1/videos", headers={"Authorization": "Bearer rr_wrong"}).status_code == 401


def test_a_request_with_a_proxy_header_needs_a_key(storage: Path) -> None:
    with (
        serving(storage) as port,
        closing(httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)) as client,
    ):
        assert client.delete("/v1/videos").status_code == 200
        refused = client.delete("/v1/videos", headers={"X-Forwarded-For": "203.0.113.9"})
        assert refused.status_code == 403 and "x-forwarded-for" in refused.json()["detail"]
        assert client.get("/v1/videos", headers={"Host": "203.0.113.9"}).status_code == 403
        assert client.post("/v1/videos", headers={"Origin": "https://evil.example"}).status_code == 403
