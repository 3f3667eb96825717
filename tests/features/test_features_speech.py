"""Speech in extraction: transcripts in rows, and rows that are transcribed later."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pytest

from rayreel.catalog.read import Catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import encoder_identities
from rayreel.failures import Reason, Rejected
from rayreel.features.captioned import captioned_rows
from rayreel.features.decoding import DecodeVideos
from rayreel.features.encoding import EncodeVideos
from rayreel.features.extract import ExtractionPlan, set_planned_catalog
from rayreel.features.key import EncoderKey
from rayreel.features.retelling import DecodeTracks, EncodeTexts, ReadRows, located_rows
from rayreel.features.rows import todo_rows
from rayreel.features.schema import SPOKEN
from rayreel.features.store import FeatureStore
from rayreel.features.storing import StoreRows
from rayreel.features.transcribing import TranscribeVideos, spoken_rows
from rayreel.features.version import base_of
from rayreel.media.config import Limits, SamplingConfig
from rayreel.speech.config import SpeechConfig
from rayreel.speech.find import Speech
from rayreel.speech.transcript import SpokenSegment, Transcript
from rayreel.storage import Storage
from speaking import RATE, WORDS, silence, spoken_track, transcriber

ENCODERS = EncodersConfig(random_weights=True, device="cpu")
KEY = EncoderKey(
    identities=encoder_identities(ENCODERS, Path("unused")),
    dims={Modality.VISUAL: 1280, Modality.AUDIO: 192, Modality.TEXT: 384},
    frame_size=224,
    sampling=SamplingConfig(frames=2, audio_windows=2, audio_window_s=0.2),
)
SPEECH = Speech(SpeechConfig(beam=1), "tiny.en-12345678")
DECODE = DecodeVideos(KEY.sampling.model_copy(update={"track_s": 60}), Limits(), KEY.frame_size)


def speaking_film(path: Path) -> Path:
    """A video of 6 s: the sentence begins at second 2."""
    sound = np.concatenate([silence(2), spoken_track(), silence(1)])
    with av.open(path, "w") as out:
        video, audio = out.add_stream("libx264", rate=5), out.add_stream("aac", rate=RATE, layout="mono")
        assert isinstance(video, av.VideoStream) and isinstance(audio, av.AudioStream)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for number in range(30):
            picture = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 5 * number, np.uint8), format="rgb24")
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(sound[None], format="s16", layout="mono")
        frame.sample_rate = RATE
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        for part in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(audio.encode(part))
        out.mux(audio.encode(None))
    return path


@pytest.fixture
def videos(film: Callable[..., Path], tmp_path: Path) -> list[CatalogVideo]:
    """Four videos: spoken, silent, broken, and a text without a video."""
    speaking_film(tmp_path / "spoken.mp4")
    film("silent.mp4", frames=12, fps=12, tone_hz=None)
    (tmp_path / "broken.mp4").write_bytes(b"no film")
    uris = {name: str(tmp_path / f"{name}.mp4") for name in ("spoken", "silent", "broken")}
    return [CatalogVideo(video_id=name, uri=uri) for name, uri in uris.items()] + [
        CatalogVideo(video_id="text", title="Only a title")
    ]


@pytest.fixture
def transcribe() -> TranscribeVideos:
    return TranscribeVideos(transcriber, SPEECH.key)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    store = FeatureStore(Storage(tmp_path / "storage"), KEY)
    store.create()
    return store


def plan_of(videos: list[CatalogVideo], store: FeatureStore, speech: Speech | None) -> ExtractionPlan:
    plan = ExtractionPlan.of(Catalog("test", videos), store, retry_quarantined=False, speech=speech)
    set_planned_catalog(store, plan, adding=False)
    return plan


def test_a_transcript_and_its_seconds_are_beside_the_features(
    videos: list[CatalogVideo], transcribe: TranscribeVideos
) -> None:
    rows = transcribe(DECODE(todo_rows(videos, ["v"] * 4)))
    spoken, *others = rows.select(["video_id", "reason", *SPOKEN.names]).to_pylist()
    assert all(word in spoken["transcript"] for word in WORDS) and spoken["spoken_language"] == "en"
    assert spoken["segments"][0]["start_s"] == pytest.approx(2, abs=0.6)
    assert [row["transcript"] for row in others] == [None] * 3 and [row["speech"] for row in others] == [SPEECH.key] * 3
    assert [row["reason"] for row in others] == [None, "unreadable", None]
    assert rows["sound_s"][0].as_py() * 4 == pytest.approx(6, abs=0.3)


def test_sound_that_cannot_be_transcribed_is_a_failure_of_its_video_only() -> None:
    rows = pa.table({"video_id": ["a", "b"], "reason": pa.nulls(2, pa.string()), "detail": pa.nulls(2, pa.string())})
    failed = Rejected(Reason.NOT_TRANSCRIBED, "no memory")
    said = Transcript("en", (SpokenSegment(1, 2, "Hello"), SpokenSegment(3, 4, "there")))
    a, b = spoken_rows(rows, [failed, said], "key").to_pylist()
    assert (a["reason"], a["detail"], a["transcript"]) == ("not_transcribed", "no memory", None)
    assert (b["reason"], b["transcript"], b["segments"][1]["end_s"]) == (None, "Hello there", 4)


def test_switching_speech_on_transcribes_existing_rows_and_keeps_their_other_features(
    videos: list[CatalogVideo], store: FeatureStore, transcribe: TranscribeVideos, tmp_path: Path
) -> None:
    plan = plan_of(videos, store, None)
    encode = EncodeVideos(ENCODERS, KEY, tmp_path)
    versions = [plan.versions[video.video_id] for video in videos]
    StoreRows(store)(encode(DecodeVideos(KEY.sampling, Limits(), KEY.frame_size)(todo_rows(videos, versions))))
    before = {row["video_id"]: row for row in store.read().to_pylist()}
    assert before.keys() == {"spoken", "silent", "text"} and before["spoken"]["speech"] is None

    plan = plan_of(videos, store, SPEECH)
    assert [video.video_id for video in plan.todo] == ["broken"]
    assert {video_id for video_id, _ in plan.retold} == {"spoken", "silent"}
    files = pa.Table.from_pylist(located_rows(store, plan.retold))
    for rows in ReadRows(store)(files):
        StoreRows(store)(EncodeTexts(ENCODERS, tmp_path)(transcribe(DecodeTracks(DECODE)(rows))))

    after = {row["video_id"]: row for row in store.read().to_pylist()}
    assert after.keys() == before.keys()
    assert all(word in after["spoken"]["transcript"] for word in WORDS)
    assert after["silent"]["transcript"] is None and after["silent"]["speech"] == SPEECH.key
    for name in ("spoken", "silent"):
        assert base_of(after[name]["version"]) == before[name]["version"] != after[name]["version"]
        kept = ("visual", "audio", "content_hash", "duration_s", "encoder_key")
        assert {key: after[name][key] for key in kept} == {key: before[name][key] for key in kept}
    assert after["text"] == before["text"]

    for speech in (SPEECH, None):  # a second run, and one with speech off, change nothing that could be used
        plan = plan_of(videos, store, speech)
        assert {video.video_id for video in plan.todo} <= {"broken"} and not plan.retold
    assert store.read().to_pylist() == list(after.values())


def test_captions_beside_a_video_are_its_transcript_with_and_without_speech_recognition(
    videos: list[CatalogVideo], store: FeatureStore, tmp_path: Path
) -> None:
    (tmp_path / "silent.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nWritten by hand\n")
    plan = plan_of(videos, store, SPEECH)
    captioned = [video for video in plan.todo if video.video_id in plan.captions]
    assert [video.video_id for video in captioned] == ["silent"]
    rows = todo_rows(captioned, [plan.versions["silent"]])
    for name, column in zip(SPOKEN.names, captioned_rows(captioned, plan.captions).columns, strict=True):
        rows = rows.append_column(name, column)
    decode = DecodeVideos(KEY.sampling, Limits(), KEY.frame_size)
    StoreRows(store)(EncodeVideos(ENCODERS, KEY, tmp_path)(decode(rows)))
    (row,) = store.read().to_pylist()
    assert (row["transcript"], row["speech"], len(row["text"])) == ("Written by hand", "captions", 1)
    assert row["segments"][0]["start_s"] == 0.5

    for speech in (SPEECH, None):  # neither is it recognised later
        plan = plan_of(videos, store, speech)
        assert "silent" not in {video.video_id for video in plan.todo} and not plan.retold
    (tmp_path / "silent.srt").write_text("1\n00:00:00,500 --> 00:00:01,000\nWritten again\n")
    assert "silent" in {video.video_id for video in plan_of(videos, store, None).todo}
