"""The service, as a stranger sees it."""

import socket
from contextlib import closing

import httpx

from chain import CLIPS, Chain


def test_the_running_service_refuses_forwarded_requests(chain: Chain) -> None:
    port = int(chain.url.rpartition(":")[2])
    with closing(httpx.Client(base_url=chain.url, trust_env=False)) as client:
        assert client.get("/v1/videos?limit=1").status_code == 200
        assert client.get("/v1/videos?limit=1", headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 403
        assert client.get("/v1/videos?limit=1", headers={"Host": "evil.example"}).status_code == 403
        assert (
            client.delete(f"/v1/videos/{CLIPS[0].video_id}", headers={"Referer": "https://evil.example/"}).status_code
            == 403
        )
    with socket.create_connection(("127.0.0.1", port)) as plain:  # the default protocol of nginx
        plain.sendall(f"GET /v1/videos HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: plain.recv(65536), b""))
    assert b" 403 " in answer.partition(b"\r\n")[0] and b"keys create" in answer


def test_the_running_service_reveals_nothing_about_paths_and_buckets(chain: Chain) -> None:
    with closing(httpx.Client(base_url=chain.url, trust_env=False)) as client:

        def ask(catalog: str) -> str:
            answer = client.post("/v1/videos/batch", json={"catalog": catalog})
            assert answer.status_code == 422
            return str(answer.json()["detail"])

        assert ask("/etc/passwd") == ask("/absent") == ask(str(chain.storage / "access" / "keys.json"))
        for catalog in ("s3://anybody/c.csv", f"https://127.1/c.csv?sig={'hunter2'}", "http://a.example/c.csv"):
            detail = ask(catalog)
            assert detail.startswith("path_not_allowed") and "hunter2" not in detail
