"""What follows the trunk of a net of Table 1: fc6 and fc7 at every position, then the mean over positions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferbench.nets.modules import VGG
from transferbench.nets.winograd import TAPS, WindowProducts

WINDOWS_BYTES = 1 << 28
"""Of copied windows at a time: 2,675 positions of net D. fc6 reads its 411 MB of weights once for each."""


class Head(nn.Module):
    """From the last pooling to descriptors.

    The windows that fc6 looks at are copied side by side, and fc6 and fc7 are matrix products, which run at the full
    rate of BLAS; as a 7 x 7 convolution fc6 does not. In float32 on a CPU, fc6 goes by Winograd's algorithm.

    Parameters
    ----------
    net : VGG
        Whose fc6 and fc7 are used; they are not copied.
    layer : {"fc7+relu", "fc6+relu", "pool5"}
        The last layer wanted.
    """

    def __init__(self, net: VGG, layer: str) -> None:
        super().__init__()
        names = {"fc7+relu": ("fc6", "fc7"), "fc6+relu": ("fc6",), "pool5": ()}[layer]
        self._side = net.spec.fc6_side
        self._products: WindowProducts | None = None
        self.layers = nn.ModuleList(net.get_submodule(name) for name in names)

    def forward(self, maps: Tensor) -> Tensor:
        """Describe.

        Parameters
        ----------
        maps : Tensor of shape (N, C, h, w)
            The trunk's output.

        Returns
        -------
        Tensor of shape (N, D), float32
            Activations averaged over positions.
        """
        if not self.layers:
            return maps.mean(dim=(2, 3), dtype=torch.float32)
        n_windows = (maps.shape[2] - self._side + 1) * (maps.shape[3] - self._side + 1)
        most = max(1, WINDOWS_BYTES // (maps.shape[1] * self._side**2 * maps.element_size()))
        if n_windows > most:
            return torch.cat([self._in_strips(part, most) for part in torch.split(maps, 1)])
        parts = torch.split(maps, most // n_windows)
        return torch.cat([self._rows(part).mean(dim=1, dtype=torch.float32) for part in parts])

    def _in_strips(self, maps: Tensor, most: int) -> Tensor:
        """Average over strips of positions of one map, across its longer side, of `most` positions where that goes."""
        axis = 2 if maps.shape[2] > maps.shape[3] else 3
        beside = self._side - 1
        n_long, n_short = maps.shape[axis] - beside, maps.shape[5 - axis] - beside
        step = max(1, most // n_short)
        sums = [
            self._rows(maps.narrow(axis, start, min(step, n_long - start) + beside)).sum(dim=1, dtype=torch.float32)
            for start in range(0, n_long, step)
        ]
        return torch.stack(sums).sum(dim=0) / (n_long * n_short)

    def _rows(self, maps: Tensor) -> Tensor:
        """Apply the layers at all positions: (N, C, h, w) to (N, positions, D)."""
        first, *others = self.layers
        rows = F.relu(self._fc6(maps, first))
        for layer in others:
            rows = F.relu(F.linear(rows, layer.get_parameter("weight").flatten(start_dim=1), _bias(layer)))
        return rows.view(len(maps), -1, rows.shape[1])

    def _fc6(self, maps: Tensor, layer: nn.Module) -> Tensor:
        """Apply fc6 at all positions: (N, C, h, w) to (N positions, K)."""
        weight = layer.get_parameter("weight")
        # Products of less than float32 would not survive the sums of Winograd's algorithm.
        exact = maps.device.type == "cpu" and maps.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
        if exact and self._side == TAPS:
            if self._products is None:  # takes seconds, so not before it is known to be needed
                self._products = WindowProducts(weight)
            return self._products(maps) + _bias(layer)
        # (N, C side^2, positions) becomes (N positions, C side^2), in the order of a flattened filter.
        windows = F.unfold(maps, self._side).transpose(1, 2)
        return F.linear(windows.reshape(-1, windows.shape[2]), weight.flatten(start_dim=1), _bias(layer))


def _bias(layer: nn.Module) -> Tensor:
    return layer.get_parameter("bias")
