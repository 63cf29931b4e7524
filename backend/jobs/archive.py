"""Several files as one zip archive, made while it is sent: nothing is kept on disk, and little of it in memory."""

from collections.abc import Iterator
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

CHUNK_BYTES = 1 << 20


class Pipe:
    """What an archive writes, taken away piece by piece; it cannot be sought in, which ``ZipFile`` finds out by itself."""

    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def flush(self) -> None:
        """Nothing is held back."""

    def close(self) -> None:
        """Nothing is open."""

    def take(self) -> bytes:
        taken, self._written = bytes(self._written), bytearray()
        return taken


def archive(folder: Path, names: list[str], inside: str) -> Iterator[bytes]:
    """The files ``names`` of ``folder``, in a directory ``inside`` of the archive. As they are: weights do not get smaller."""
    pipe = Pipe()
    with ZipFile(pipe, "w", ZIP_STORED) as archive:
        for name in names:
            info = ZipInfo.from_file(folder / name, f"{inside}/{name}", strict_timestamps=False)
            with (folder / name).open("rb") as source, archive.open(info, "w", force_zip64=True) as target:
                while chunk := source.read(CHUNK_BYTES):
                    target.write(chunk)
                    yield pipe.take()
    yield pipe.take()
