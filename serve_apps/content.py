"""Content of uploaded files: a temporary file in the receiving replica, Ray's object store between replicas."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import UploadFile

# Bytes [N], read-only. An array, because Ray passes arrays between processes without a copy.
Content = NDArray[np.uint8]


@contextmanager
def content_of(file: UploadFile) -> Iterator[Content]:
    """Map an upload's temporary file into memory for the duration of the block, without reading it as a whole."""
    if not file.size:
        yield np.empty(0, np.uint8)
        return
    yield np.asarray(np.memmap(file.file, np.uint8, "r"))
