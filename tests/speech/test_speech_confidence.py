from dataclasses import dataclass

from rayreel.speech.confidence import believable


@dataclass
class Said:
    text: str = "good morning"
    avg_logprob: float = -0.3
    no_speech_prob: float = 0.1
    compression_ratio: float = 1.1


def test_a_confident_sentence_is_kept_and_guesses_on_noise_are_not() -> None:
    guesses = [
        Said("Thank you.", avg_logprob=-1.15, no_speech_prob=0.68),
        Said("Thank you for watching!", no_speech_prob=0.6),
        Said("It might be", avg_logprob=-1.2),
        Said(" ."),
        Said("we do it, we do it, we do it", compression_ratio=9.0),
    ]
    assert believable([Said(), *guesses]) == [True] + [False] * 5


def test_a_sentence_that_is_repeated_three_times_is_a_loop_and_twice_is_not() -> None:
    twice, loop = [Said("Do you want it?")] * 2, [Said("a dream bow"), Said("A dream bow"), Said(" a dream bow ")]
    assert believable([*twice, *loop, Said()]) == [True, True, False, False, False, True]
