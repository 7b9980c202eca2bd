"""fc6 by Winograd's algorithm: 64 multiplications for four positions where a direct 7 x 7 convolution needs 196.

In one dimension, two outputs of a filter g of seven taps come from eight inputs d by y = A'[(G g) * (B' d)], the
transpose of Toom and Cook's multiplication of polynomials: both factors are evaluated at eight points (A, G),
multiplied, and interpolated (B). Two dimensions are that twice. The points are those of F(6 x 6, 3 x 3), which lose
about a digit.

References
----------
Lavin & Gray, Fast algorithms for convolutional neural networks (2016).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

TAPS = 7
_TILE = 2
_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)  # and infinity
_CHUNK = 512
"""Outputs computed together: their products stay in the last cache until they are added up."""


def _values(degree: int) -> Tensor:
    """Evaluate polynomials of some number of coefficients at all points, as a matrix; at infinity, the last counts."""
    rows = [[point**power for power in range(degree)] for point in _POINTS]
    return torch.tensor([*rows, [0.0] * (degree - 1) + [1.0]], dtype=torch.float64)


def _twice(matrix: Tensor) -> Tensor:
    return torch.kron(matrix, matrix)


class WindowProducts:
    """A 7 x 7 convolution without padding, of stride 1, in float32 on a CPU.

    Parameters
    ----------
    weight : Tensor of shape (K, C, 7, 7), float32
        Applied as a cross-correlation.
    """

    def __init__(self, weight: Tensor) -> None:
        size = _TILE + TAPS - 1
        self._gather = _twice(torch.linalg.inv(_values(size)).T).float()
        self._add_up = _twice(_values(_TILE).T).float()
        evaluate = _twice(_values(TAPS)).T
        # (outputs, inputs, 49) @ (49, 64) in float64, kept as (64, inputs, outputs), a chunk of outputs at a time.
        self._filters = [
            (chunk.flatten(start_dim=2).double() @ evaluate).float().permute(2, 1, 0).contiguous()
            for chunk in torch.split(weight.detach(), _CHUNK)
        ]

    def __call__(self, maps: Tensor) -> Tensor:
        """Convolve.

        Parameters
        ----------
        maps : Tensor of shape (N, C, h, w), float32
            h and w at least 7.

        Returns
        -------
        Tensor of shape (N (h - 6) (w - 6), K), float32
            One row per image and position, in that order; without a bias.
        """
        images, channels, height, width = maps.shape
        out = (height - TAPS + 1, width - TAPS + 1)
        down, across = (-(-side // _TILE) for side in out)
        padded = F.pad(maps, (0, across * _TILE - out[1], 0, down * _TILE - out[0]))
        # (N, C 64, tiles) becomes (64, N tiles, C).
        windows = F.unfold(padded, _TILE + TAPS - 1, stride=_TILE).view(images, channels, -1, down * across)
        gathered = (self._gather @ windows.permute(2, 0, 3, 1).reshape(len(self._gather), -1)).view(
            len(self._gather), -1, channels
        )
        chunks = [
            (self._add_up @ torch.bmm(gathered, filters).flatten(start_dim=1)).view(-1, filters.shape[2])
            for filters in self._filters
        ]
        # Rows are (row in the tile, column in the tile, image, tile down, tile across).
        found = torch.cat(chunks, dim=1).view(_TILE, _TILE, images, down, across, -1).permute(2, 3, 0, 4, 1, 5)
        found = found.reshape(images, down * _TILE, across * _TILE, -1)[:, : out[0], : out[1]]
        return found.reshape(-1, found.shape[3])
