"""Same label: another training video of the anchor's category."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayreel.training.pairs.sources import NONE


@dataclass(frozen=True, slots=True)
class SameLabel:
    """Draws a partner uniformly from the other training rows of the anchor's label.

    members: labelled training rows, sorted by label. Row n is members[position_N[n]], the members of its label start at
    members[start_N[n]], and others_N[n] is their number without n; all zero for rows that are not members.
    """

    label_N: NDArray[np.int64]
    members: NDArray[np.int64]
    position_N: NDArray[np.int64]
    start_N: NDArray[np.int64]
    others_N: NDArray[np.int64]

    @staticmethod
    def of(label_N: NDArray[np.int64], train_rows: NDArray[np.int64]) -> "SameLabel":
        """Build the source from labels as returned by `codes_of`."""
        labelled = train_rows[label_N[train_rows] != NONE]
        members = labelled[np.argsort(label_N[labelled], kind="stable")]
        sorted_labels = label_N[members]
        start, end = (np.searchsorted(sorted_labels, sorted_labels, side) for side in ("left", "right"))
        position_N, start_N, others_N = np.zeros((3, len(label_N)), dtype=np.int64)
        position_N[members], start_N[members], others_N[members] = np.arange(len(members)), start, end - start - 1
        return SameLabel(label_N, members, position_N, start_N, others_N)

    def has_N(self) -> NDArray[np.bool_]:
        """[N]: training rows whose label has another member."""
        has: NDArray[np.bool_] = self.others_N > 0
        return has

    def partners(self, anchors_J: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw another member of each anchor's label, NONE for anchors without one."""
        has_J = self.others_N[anchors_J] > 0
        anchors = anchors_J[has_J]
        place = self.start_N[anchors] + rng.integers(0, self.others_N[anchors])
        partners_J = np.full(len(anchors_J), NONE)
        partners_J[has_J] = self.members[place + (place >= self.position_N[anchors])]
        return partners_J

    def partner_frequency(self, weight_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N]: each row's weight, distributed evenly over the other members of its label."""
        share_N = np.where(self.has_N(), weight_N / np.maximum(self.others_N, 1), 0)
        total = np.bincount(self.label_N[self.members], share_N[self.members])
        frequency_N = np.zeros(len(share_N))
        frequency_N[self.members] = total[self.label_N[self.members]] - share_N[self.members]
        return frequency_N
