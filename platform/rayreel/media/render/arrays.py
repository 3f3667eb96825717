"""What the renderer computes with."""

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float64]
Picture = NDArray[np.uint8]  # [height, width, 3] RGB
