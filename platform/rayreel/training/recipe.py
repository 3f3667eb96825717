"""The recipe of a training: the pairs, the loss and the learning rate, chosen from what the data have."""

from dataclasses import dataclass, field, replace

from rayreel.encoders.encoder import Modality
from rayreel.evaluation.exam import Exam
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import feature_schema
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.losses.config import LossConfig
from rayreel.training.config import TrainConfig
from rayreel.training.job import TrainJob
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.pairs.sources import PairsImpossible

_RATE = "learning_rate"
_DEFAULT_RATE: float = TrainConfig.model_fields[_RATE].default


@dataclass(frozen=True, slots=True)
class PairRecipe:
    """Pairs and loss that belong together, the learning rate measured with them, and why they are chosen.

    `worthwhile`: whether a tower that is trained by it is expected to be better than features without training.
    """

    reason: str
    pairs: PairsConfig
    loss: LossConfig = field(default_factory=LossConfig)
    learning_rate: float = _DEFAULT_RATE
    worthwhile: bool = True


WITH_INTERACTIONS = (
    PairRecipe("co-watched videos, videos of one category, and views", PairsConfig(co_watched=1, label=1)),
    PairRecipe("co-watched videos and views; no category has two training videos", PairsConfig(co_watched=1)),
)
# On 400 real clips, over five splits by repository, the mean nDCG@10 by category of held-out clips among the others is
# 0.54 with views, 0.60 with labels and InfoNCE, 0.65 with labels, SupCon and this learning rate.
LABELS = PairRecipe(
    "videos of one category, with SupCon",
    PairsConfig(views=0, label=1),
    LossConfig(kind="supcon", temperature=0.1),
    learning_rate=1e-3,
)
# Towers of views alone lost to features without training: 0.56 against 0.59 on these clips, 0.02 in synthetic worlds.
VIEWS = PairRecipe(
    "two views of each video; there are no interactions and no category with two videos",
    PairsConfig(),
    worthwhile=False,
)


def with_recipe(job: TrainJob) -> tuple[TrainJob, PairRecipe]:
    """Return the job with the pairs, loss and learning rate of its recipe, and the recipe.

    With `train.recipe=auto`, the first recipe whose pairs the training videos have. Settings that differ from their
    defaults are kept: of `pairs` and `loss` all, as one choice, and the learning rate. If there is nothing but views
    to learn from, the recipe is VIEWS.
    """
    if job.train.recipe != "auto" or (job.pairs, job.loss) != (PairsConfig(), LossConfig()):
        return job, PairRecipe("as set in pairs and loss", job.pairs, job.loss, job.train.learning_rate)
    recipe = _possible(job)
    changed = {_RATE: recipe.learning_rate} if job.train.learning_rate == _DEFAULT_RATE else {}
    return replace(job, pairs=recipe.pairs, loss=recipe.loss, train=job.train.model_copy(update=changed)), recipe


def _possible(job: TrainJob) -> PairRecipe:
    store = FeatureStore(Storage(job.storage), job.key)
    about = [name for name in feature_schema(job.key.dims).names if name not in set(Modality)]
    rows = FeatureMatrix({}, store.read(about))
    exam = Exam.of(rows, job.splits, job.evaluation, job.interactions)
    watched = None if exam.users is None else exam.users.training
    recipes: tuple[PairRecipe, ...] = (*(() if watched is None else WITH_INTERACTIONS), LABELS)
    for recipe in recipes:
        try:
            PairPlan.of(rows, exam.split.train, recipe.pairs, watched)
        except PairsImpossible:
            continue
        return recipe
    return VIEWS
