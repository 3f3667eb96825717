"""Write members of a zip file to files, checked by the size and CRC-32 that the zip file has for them."""

import zipfile
import zlib
from pathlib import Path

from rayreel.catalog.download import WrongFile
from rayreel.catalog.resume import Part

_PIECE_BYTES = 1 << 20
# What zipfile raises for a damaged member, an unknown compression and an encrypted member.
UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def extract_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write a member to `path`, which gets its name once it is complete; check a file that exists.

    Raises WrongFile if an existing file differs from the member, zipfile's exceptions, PartTaken and OSError.
    """
    if path.exists():
        if not _is_member(path, member):
            raise WrongFile(f"{path} differs from {member.filename} in the archive. Delete the file, then retry.")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with Part(path) as part, archive.open(member) as content:
        part.clear()  # of a run that was killed
        while piece := content.read(_PIECE_BYTES):
            part.write(piece)
        part.finish()


def _is_member(path: Path, member: zipfile.ZipInfo) -> bool:
    """Return whether a file has the member's size and CRC-32."""
    if path.stat().st_size != member.file_size:
        return False
    crc = 0
    with path.open("rb") as content:
        while piece := content.read(_PIECE_BYTES):
            crc = zlib.crc32(piece, crc)
    return crc == member.CRC
