"""What follows the trunk of a net of Table 1: fc6 and fc7 at every position, then the mean over positions."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferbench.nets.modules import VGG

WINDOWS_BYTES = 1 << 28
"""Of copied windows at a time. fc6 reads its 411 MB of weights once for each."""


class Head(nn.Module):
    """From the last pooling to descriptors.

    The windows that fc6 looks at are copied side by side, and fc6 and fc7 are matrix products, which run at the full
    rate of BLAS; as a 7 x 7 convolution fc6 does not.

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
        bytes_per_image = n_windows * maps.shape[1] * self._side**2 * maps.element_size()
        n_images = max(1, WINDOWS_BYTES // bytes_per_image)
        return torch.cat([self._describe(part) for part in torch.split(maps, n_images)])

    def _describe(self, maps: Tensor) -> Tensor:
        # (N, C side^2, positions) becomes (N positions, C side^2), in the order of a flattened filter.
        windows = F.unfold(maps, self._side).transpose(1, 2)
        rows = windows.reshape(-1, windows.shape[2])
        for layer in self.layers:
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            rows = F.relu(F.linear(rows, weight.flatten(start_dim=1), bias))
        return rows.view(len(maps), -1, rows.shape[1]).mean(dim=1, dtype=torch.float32)
