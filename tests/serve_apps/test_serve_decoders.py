"""The decoders for uploads and added videos."""

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from rayreel.encoders.encoder import Modality
from rayreel.failures import Reason, Rejected
from rayreel.features.key import EncoderKey
from rayreel.media.clip import Clip
from rayreel.media.config import SamplingConfig
from rayreel.settings import Settings
from serve_apps.content import Content
from serve_apps.decoders import Decoders
from serve_apps.observe import Metrics
from serve_apps.problems import Busy

FilmMaker = Callable[..., Path]


KEY = EncoderKey(
    identities={m: f"{m}@1+x" for m in Modality},
    dims=dict.fromkeys(Modality, 4),
    frame_size=32,
    sampling=SamplingConfig(frames=2),
)
# Calls that Serve sends to a replica at once.
CALLS = 8


def decoders(serve: dict[str, object] | None = None, **limits: object) -> Decoders:
    tree = {"limits": limits, "serve": serve or {}}
    return Decoders(Settings.model_validate(tree), Metrics(), CALLS)


def content(film: Path) -> Content:
    return np.fromfile(film, np.uint8)


async def outcome(made: Decoders, source: Content | str, seconds: float = 60) -> Clip | Rejected:
    return await made.decode(source, seconds, KEY)


@pytest.mark.parametrize("roots", [(), ("/nowhere/at/all",)])
def test_an_upload_is_decoded_regardless_of_allowed_folders(film: FilmMaker, roots: tuple[str, ...]) -> None:
    clip = asyncio.run(outcome(decoders(allowed_roots=roots), content(film())))
    assert isinstance(clip, Clip) and clip.frames.shape == (2, 32, 32, 3)


def test_a_local_file_is_read_only_below_an_allowed_folder(film: FilmMaker, tmp_path: Path) -> None:
    file = film()
    for made in (decoders(), decoders(allowed_roots=(tmp_path / "other",))):
        refused = asyncio.run(outcome(made, str(file)))
        assert isinstance(refused, Rejected) and refused.reason is Reason.PATH_NOT_ALLOWED
    assert isinstance(asyncio.run(outcome(decoders(allowed_roots=(tmp_path,)), str(file))), Clip)


def test_cancelled_calls_return_their_decoders(film: FilmMaker) -> None:
    made, upload = decoders({"decoders": 2}), content(film())

    async def scenario() -> None:
        for _ in range(4):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await made.decode(upload, 60, KEY)
        clips = await asyncio.gather(*(made.decode(upload, 60, KEY) for _ in range(4)))
        assert all(isinstance(clip, Clip) for clip in clips)

    asyncio.run(scenario())


def test_waiting_calls_count_as_ongoing(film: FilmMaker) -> None:
    made, upload = decoders({"decoders": 1}), content(film())

    async def scenario() -> None:
        calls = [asyncio.create_task(made.decode(upload, 60, KEY)) for _ in range(3)]
        await asyncio.sleep(0)
        assert made.ongoing == 3
        await asyncio.gather(*calls)
        assert made.ongoing == 0

    asyncio.run(scenario())


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """An https address that accepts connections and never responds."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"https://localhost:{listening.getsockname()[1]}/film.mp4"


@pytest.mark.parametrize("threads", [1, 2, 20])
def test_downloads_take_half_of_the_calls_and_uploads_do_not_wait_for_them(film: FilmMaker, threads: int) -> None:
    made = decoders({"decoders": 1, "download_threads": threads}, allowed_hosts=("localhost",))
    upload = content(film())

    async def scenario() -> None:
        async with silent_server() as address:
            downloads = [asyncio.create_task(made.decode(address, 60, KEY)) for _ in range(CALLS // 2)]
            await asyncio.sleep(0)
            clips = await asyncio.gather(*(made.decode(upload, 60, KEY) for _ in range(2)))
            assert all(isinstance(clip, Clip) for clip in clips)
            assert not any(download.done() for download in downloads)
            with pytest.raises(Busy):
                await made.decode(address, 60, KEY)
        for download in downloads:
            download.cancel()

    asyncio.run(scenario())


def test_a_download_ends_at_the_deadline_of_its_request() -> None:
    made = decoders(allowed_hosts=("localhost",))

    async def scenario() -> None:
        async with silent_server() as address:
            short, long = (asyncio.create_task(made.decode(address, seconds, KEY)) for seconds in (0.5, 60))
            await asyncio.wait((short, long), return_when=asyncio.FIRST_COMPLETED)
            ended = await short
            assert isinstance(ended, Rejected) and ended.reason is Reason.UNREACHABLE
            assert not long.done()
            long.cancel()

    asyncio.run(scenario())


def test_a_cancelled_download_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = decoders(allowed_hosts=("localhost",))

    async def scenario() -> None:
        async with silent_server() as address:
            download = asyncio.create_task(made.decode(address, 1, KEY))
            while not list(tmp_path.iterdir()):
                await asyncio.sleep(0.01)
            download.cancel()
            with pytest.raises(asyncio.CancelledError):
                await download
        while list(tmp_path.iterdir()):  # the thread deletes it when its time is over
            await asyncio.sleep(0.01)

    asyncio.run(scenario())
