"""Several files as one zip archive, made while it is sent: nothing is kept on disk, and little of it in memory."""

from collections.abc import Iterable, Iterator
from io import RawIOBase
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from typing_extensions import Buffer

CHUNK_BYTES = 1 << 20


class Pipe(RawIOBase):
    """What an archive writes, taken away piece by piece; it cannot be sought in, which ``ZipFile`` finds out by itself."""

    def __init__(self) -> None:
        super().__init__()
        self._written = bytearray()

    def write(self, data: Buffer, /) -> int:
        before = len(self._written)
        self._written += data
        return len(self._written) - before

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def archive(files: Iterable[tuple[str, Path]], directory: str) -> Iterator[bytes]:
    """``files`` by the names that they get in a ``directory`` of the archive. As they are: weights do not get smaller."""
    pipe = Pipe()
    with ZipFile(pipe, "w", ZIP_STORED) as archive:
        for name, file in files:
            info = ZipInfo.from_file(file, f"{directory}/{name}", strict_timestamps=False)
            with file.open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
                    yield pipe.take()
    yield pipe.take()
