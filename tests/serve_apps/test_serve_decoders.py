"""The decoders behind uploads and added videos."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from serve_apps.decoders import DECODERS, Decoders
from serve_apps.observe import Metrics

FilmMaker = Callable[..., Path]


def decoders(**limits: object) -> Decoders:
    return Decoders(Limits.model_validate(limits), SamplingConfig(frames=2), 32, Metrics())


async def outcome(made: Decoders, source: bytes | str, seconds: float = 60) -> Clip | Rejected:
    return await made.decode(source, seconds)


@pytest.mark.parametrize("roots", [(), ("/nowhere/at/all",)])
def test_an_upload_is_decoded_whatever_folders_are_allowed(film: FilmMaker, roots: tuple[str, ...]) -> None:
    clip = asyncio.run(outcome(decoders(allowed_roots=roots), film().read_bytes()))
    assert isinstance(clip, Clip) and clip.frames.shape == (2, 32, 32, 3)


def test_a_file_of_this_machine_is_read_only_below_an_allowed_folder(film: FilmMaker, tmp_path: Path) -> None:
    file = film()
    for made in (decoders(), decoders(allowed_roots=(tmp_path / "other",))):
        refused = asyncio.run(outcome(made, str(file)))
        assert isinstance(refused, Rejected) and refused.reason is Reason.PATH_NOT_ALLOWED
    assert isinstance(asyncio.run(outcome(decoders(allowed_roots=(tmp_path,)), str(file))), Clip)


def test_calls_that_are_given_up_leave_every_decoder_to_those_that_follow(film: FilmMaker) -> None:
    made, content = decoders(), film().read_bytes()

    async def scenario() -> None:
        for _ in range(2 * DECODERS):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001):
                    await made.decode(content, 60)
        clips = await asyncio.gather(*(made.decode(content, 60) for _ in range(2 * DECODERS)))
        assert all(isinstance(clip, Clip) for clip in clips)

    asyncio.run(scenario())


def test_calls_that_wait_for_a_decoder_are_counted_like_those_that_have_one(film: FilmMaker) -> None:
    made, content = decoders(), film().read_bytes()

    async def scenario() -> None:
        calls = [asyncio.create_task(made.decode(content, 60)) for _ in range(DECODERS + 2)]
        await asyncio.sleep(0)
        assert made.ongoing == DECODERS + 2
        await asyncio.gather(*calls)
        assert made.ongoing == 0

    asyncio.run(scenario())
