"""Build the configured loss."""

from rayreel.tower.losses.config import LossConfig
from rayreel.tower.losses.contrastive import Contrastive
from rayreel.tower.losses.infonce import InfoNCE
from rayreel.tower.losses.pair_loss import PairLoss
from rayreel.tower.losses.supcon import SupCon
from rayreel.tower.losses.triplet import Triplet

_TRIPLET_MARGIN = {"cosine": 0.2, "euclidean": 0.3}
_CONTRASTIVE_MARGIN = {"cosine": 0.0, "euclidean": 1.0}


def make_loss(config: LossConfig) -> PairLoss:
    """Return a new loss with initial parameters.

    >>> loss = make_loss(LossConfig(kind="triplet", distance="euclidean"))
    >>> type(loss).__name__, loss.margin, loss.mining
    ('Triplet', 0.3, 'semi_hard')
    """
    match config.kind:
        case "infonce":
            return InfoNCE(config.temperature, log_q=config.log_q)
        case "supcon":
            return SupCon(config.temperature)
        case "triplet":
            margin = _TRIPLET_MARGIN[config.distance] if config.margin is None else config.margin
            return Triplet(margin, config.distance, config.mining)
        case "contrastive":
            margin = _CONTRASTIVE_MARGIN[config.distance] if config.margin is None else config.margin
            return Contrastive(margin, config.distance)
