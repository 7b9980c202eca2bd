"""A file that HDF5 writes in memory, with one large array left where it is instead of being copied."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transferbench.errors import CacheError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class UnmovedArrayFile(io.RawIOBase):
    """What h5py takes for a file; the values of one array become a piece of it as they lie.

    HDF5 hands over the values of a contiguous dataset that need no conversion in one write, out of the caller's own
    memory. Only a write of that very memory is not copied; were HDF5 to copy first, the file would be the same.

    Parameters
    ----------
    array : ndarray
        C-contiguous; must not change while the file is used.
    placed : callable
        Told, as soon as it is known, where in the file the array begins, and its bytes.
    """

    def __init__(self, array: NDArray[np.generic], placed: Callable[[int, memoryview], None]) -> None:
        self._array = array.reshape(-1).view(np.uint8).data
        self._address = array.ctypes.data
        self._start: int | None = None
        self._before, self._after = bytearray(), bytearray()
        self._placed = placed
        self._at = 0

    def pieces(self) -> tuple[memoryview, memoryview, memoryview]:
        """Give the file's bytes.

        Returns
        -------
        tuple of memoryview
            What is before the array, the array, and what is after it; one after the other they are the file.
        """
        array = self._array[:0] if self._start is None else self._array
        return memoryview(self._before), array, memoryview(self._after)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take what HDF5 writes at the present position.

        Parameters
        ----------
        data : bytes-like
            Kept as it lies if it is the array.

        Returns
        -------
        int
            How many bytes: all of them.

        Raises
        ------
        CacheError
            If anything else is written where the array lies.
        """
        values = np.frombuffer(memoryview(data), dtype=np.uint8)
        if self._start is None and values.size == self._array.nbytes and values.ctypes.data == self._address:
            self._split()
        else:
            part, at = self._part(self._at, self._at + values.size)
            part.extend(bytes(max(0, at + values.size - len(part))))
            part[at : at + values.size] = values.data
        self._at += values.size
        return len(values)

    def _split(self) -> None:
        """Let what lies before and behind the array go separate ways."""
        self._start = self._at
        self._placed(self._at, self._array)
        self._before.extend(bytes(max(0, self._at - len(self._before))))
        self._after = self._before[self._at + self._array.nbytes :]
        del self._before[self._at :]

    def _part(self, start: int, stop: int) -> tuple[bytearray, int]:
        """Find the piece that some bytes of the file belong to, and where in it they begin."""
        if self._start is None or stop <= self._start:
            return self._before, start
        if start >= self._start + self._array.nbytes:
            return self._after, start - self._start - self._array.nbytes
        msg = f"HDF5 changes bytes {start} to {stop} of a file whose rows begin at {self._start}"
        raise CacheError(msg)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move the position.

        Parameters
        ----------
        offset : int
            By how much.
        whence : {0, 1, 2}
            From the beginning, the position, or the end.

        Returns
        -------
        int
            The position.
        """
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length()}[whence]
        return self._at

    def truncate(self, size: int | None = None, /) -> int:
        """Give the file its length; HDF5 does it when it closes the file.

        Parameters
        ----------
        size : int, optional
            The position unless stated.

        Returns
        -------
        int
            The length.
        """
        size = self._at if size is None else size
        part, length = self._part(size, max(size, self._length()))
        del part[length:]
        part.extend(bytes(length - len(part)))
        return size

    def _length(self) -> int:
        return sum(map(len, self.pieces()))
