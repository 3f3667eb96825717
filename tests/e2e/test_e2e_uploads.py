"""The limit on each upload, through a real port."""

import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from chain import Chain
from films import write_film
from made_service import made_service
from ports import free_port

FilmMaker = Callable[..., Path]
MIB = 1 << 20
# Default of serve.max_body_bytes.
LIMIT = 64 * MIB
ROUTES = {"/v1/recommend/upload": 200, "/v1/embed/upload": 200, "/v1/videos": 201}
FORM = "multipart/form-data; boundary=mark"


def padded(film: Path, size: int) -> bytes:
    """Return the film padded to `size` bytes with a box that players skip."""
    content = film.read_bytes()
    box = size - len(content)
    return content + struct.pack(">I4s", box, b"free") + bytes(box - 8)


def send(url: str, route: str, content: bytes) -> httpx.Response:
    return httpx.post(url + route, files={"file": ("film.mp4", content)}, timeout=120)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return padded(write_film(tmp_path_factory.mktemp("large") / "film.mp4"), 63 * MIB)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("route", ROUTES)
def test_a_large_video_is_accepted(chain: Chain, large: bytes, route: str) -> None:
    answer = send(chain.url, route, large)
    assert answer.status_code == ROUTES[route], answer.text


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("size", [LIMIT, LIMIT + 10 * MIB])
def test_a_video_above_the_limit_is_refused(chain: Chain, film: FilmMaker, route: str, size: int) -> None:
    answer = send(chain.url, route, padded(film(), size))
    assert answer.status_code == 413, answer.text
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("size", "status"), [(63 * MIB, 200), (LIMIT, 413)])
def test_a_video_of_undeclared_length_has_the_same_limit(chain: Chain, film: FilmMaker, size: int, status: int) -> None:
    content = padded(film(), size)

    def pieces() -> Iterator[bytes]:
        yield b'--mark\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        yield from (content[at : at + MIB] for at in range(0, size, MIB))
        yield b"\r\n--mark--\r\n"

    url = f"{chain.url}/v1/embed/upload"
    answer = httpx.post(url, content=pieces(), headers={"Content-Type": FORM}, timeout=120)
    assert answer.status_code == status, answer.text


def test_several_large_videos_are_accepted_at_once(chain: Chain, large: bytes) -> None:
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: send(chain.url, "/v1/embed/upload", large), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4, [answer.text for answer in answers]


@pytest.mark.faults
@pytest.mark.timeout(900)
def test_large_videos_are_accepted_without_haproxy(tmp_path: Path, large: bytes, film: FilmMaker) -> None:
    with made_service(tmp_path, free_port(), sets=["serve.timeout_s=60"], haproxy=False) as service:
        for route, status in ROUTES.items():
            assert send(service.url, route, large).status_code == status
            assert send(service.url, route, padded(film(), LIMIT)).status_code == 413
