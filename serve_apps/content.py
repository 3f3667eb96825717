"""The content of an uploaded file: on disk in the replica that receives it, in Ray's object store between replicas."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import UploadFile

# Bytes [N], read-only: an array is what Ray passes on without a copy in the memory of a process.
Content = NDArray[np.uint8]


@contextmanager
def content_of(file: UploadFile) -> Iterator[Content]:
    """The bytes of an upload for the time of the block, mapped from its temporary file and never read as a whole."""
    if not file.size:
        yield np.empty(0, np.uint8)
        return
    yield np.asarray(np.memmap(file.file, np.uint8, "r"))
