"""Speech recognition by the real model, on a rendered sentence."""

import numpy as np

from rayreel.failures import Reason, Rejected
from rayreel.speech.transcript import Transcript
from rayreel.speech.voice import find_voice
from rayreel.speech.whisper import Whisper
from speaking import WORDS, chord, made_transcriber, silence, spoken_track, transcriber


def test_words_are_found_at_their_second_also_after_silence_and_beside_other_videos() -> None:
    spoken = spoken_track()
    late = np.concatenate([silence(5), spoken, silence(2)])
    early, nothing, music, after = transcriber().transcribe([spoken, silence(4), chord(4), late])
    assert isinstance(early, Transcript) and isinstance(after, Transcript)
    for transcript, begin_s in ((early, 0), (after, 5)):
        assert all(word in transcript.text for word in WORDS)
        assert transcript.language == "en"
        assert transcript.segments[0].start_s == np.clip(transcript.segments[0].start_s, begin_s - 0.5, begin_s + 0.7)
        assert begin_s + 2 < transcript.segments[-1].end_s < begin_s + 4
    assert nothing == music == Transcript()


def test_silence_and_music_have_no_voice() -> None:
    spoken = spoken_track()
    assert find_voice(silence(3)) is find_voice(chord(3)) is find_voice(spoken[:0]) is None
    voice = find_voice(spoken)
    assert voice is not None and voice.stretches == ((0, len(voice.samples)),)


def test_long_speech_is_read_in_stretches_of_at_most_thirty_seconds() -> None:
    voice = find_voice(np.tile(np.concatenate([spoken_track(), silence(1)]), 12))
    assert voice is not None and len(voice.stretches) >= 2
    assert all(0 < end - begin <= 30 * 16_000 for begin, end in voice.stretches)
    assert voice.stretches[0][0] == 0 and voice.stretches[-1][1] == len(voice.samples)
    assert all(a[1] == b[0] for a, b in zip(voice.stretches, voice.stretches[1:], strict=False))


def test_sound_on_which_the_model_fails_is_rejected_and_other_videos_are_not() -> None:
    broken = made_transcriber()
    assert isinstance(broken.model, Whisper)
    broken.model.network.model.unload_model()
    failed, silent = broken.transcribe([spoken_track(), silence(2)])
    assert isinstance(failed, Rejected) and failed.reason is Reason.NOT_TRANSCRIBED
    assert silent == Transcript()
