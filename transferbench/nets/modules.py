"""The nets as torch modules. One set of weights serves training crops (fully connected) and whole images (dense)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from transferbench.nets import vgg
from transferbench.nets.masks import masked
from transferbench.types.net import NetSpec

LRN_SIZE, LRN_ALPHA, LRN_BETA, LRN_K = 5, 5e-4, 0.75, 2.0
"""Krizhevsky's constants; torch divides alpha by the size, hence 5 times his 1e-4."""

STANDARD_DEVIATIONS = {"normal": 0.01, "literal": 0.1}
"""Of the normal initialisations, by name."""


class VGG(nn.Module):
    """A net of Table 1, its fully connected layers kept as convolutions.

    Parameters
    ----------
    spec : NetSpec
        Which column, how wide, for which crop and how many classes.
    dropout : float, default 0.5
        On the outputs of fc6 and fc7 while training.

    Notes
    -----
    State keys are ``conv1_1.weight`` ... ``fc8.bias``, shapes those of convolutions: fc6 is (4096, 512, 7, 7).

    References
    ----------
    Simonyan & Zisserman (2015), Sect. 2 and 3.2, Table 1.
    """

    def __init__(self, spec: NetSpec, dropout: float = 0.5) -> None:
        super().__init__()
        self.spec = spec
        self.dropout = dropout
        self._blocks = vgg.blocks(spec)
        for layer in vgg.weight_layers(spec):
            self.add_module(layer.name, nn.Conv2d(layer.inputs, layer.outputs, layer.kernel, padding=layer.padding))

    def trunk(self, images: Tensor) -> Tensor:
        """Apply the convolutional blocks.

        Parameters
        ----------
        images : Tensor of shape (N, 3, H, W)
            Preprocessed.

        Returns
        -------
        Tensor of shape (N, C, h, w)
            The last pooling's output; h is H / 32, rounded at every pooling as the spec says.
        """
        x = images
        for block in self._blocks:
            for layer in block:
                x = F.relu(self._conv(layer.name)(x))
                if layer.lrn:
                    x = F.local_response_norm(x, LRN_SIZE, alpha=LRN_ALPHA, beta=LRN_BETA, k=LRN_K)
            x = F.max_pool2d(x, kernel_size=2, stride=2, ceil_mode=self.spec.pool_rounding == "ceil")
        return x

    def forward(self, crops: Tensor, draws: Tensor | None = None) -> Tensor:
        """Classify crops by the fully connected form.

        Parameters
        ----------
        crops : Tensor of shape (N, 3, crop, crop)
            Preprocessed; no other size is accepted.
        draws : Tensor of shape (N,), int64, optional
            A random number per image, from which its dropout masks follow while training. Without them they come from
            torch's stream of random numbers.

        Returns
        -------
        Tensor of shape (N, n_classes)
            Scores before the soft-max.
        """
        x = self.trunk(crops).flatten(start_dim=1)
        for number, name in enumerate(("fc6", "fc7")):
            layer = self._conv(name)
            x = F.relu(F.linear(x, layer.weight.flatten(start_dim=1), layer.bias))
            if draws is None:
                x = F.dropout(x, self.dropout, self.training)
            elif self.training and self.dropout:
                x = masked(x, draws, number, self.dropout)
        fc8 = self._conv("fc8")
        return F.linear(x, fc8.weight.flatten(start_dim=1), fc8.bias)

    def dense_fc7(self, images: Tensor) -> Tensor:
        """Apply the net densely up to fc7.

        Parameters
        ----------
        images : Tensor of shape (N, 3, H, W)
            Preprocessed, H and W at least the crop.

        Returns
        -------
        Tensor of shape (N, D, h, w)
            fc7 after its ReLU, at every position; without dropout.
        """
        return F.relu(self._conv("fc7")(F.relu(self._conv("fc6")(self.trunk(images)))))

    def dense_scores(self, images: Tensor) -> Tensor:
        """Classify whole images: the class score map, averaged over positions.

        Parameters
        ----------
        images : Tensor of shape (N, 3, H, W)
            Preprocessed.

        Returns
        -------
        Tensor of shape (N, n_classes)
            Mean scores before the soft-max.

        References
        ----------
        Simonyan & Zisserman (2015), Sect. 3.2.
        """
        scores: Tensor = self._conv("fc8")(self.dense_fc7(images))
        return scores.mean(dim=(2, 3))

    def describe(self, images: Tensor, layer: str = "fc7+relu") -> Tensor:
        """Compute descriptors: the activations of a layer, averaged over positions.

        Parameters
        ----------
        images : Tensor of shape (N, 3, H, W)
            Preprocessed.
        layer : {"fc7+relu", "fc6+relu", "pool5"}
            The paper takes the first.

        Returns
        -------
        Tensor of shape (N, D)
            D is 4096 at the paper's width.

        References
        ----------
        Simonyan & Zisserman (2015), Appendix B.
        """
        match layer:
            case "fc7+relu":
                x = self.dense_fc7(images)
            case "fc6+relu":
                x = F.relu(self._conv("fc6")(self.trunk(images)))
            case "pool5":
                x = self.trunk(images)
            case _:
                msg = f"there is no layer {layer!r}"
                raise ValueError(msg)
        return x.mean(dim=(2, 3))

    def _conv(self, name: str) -> nn.Conv2d:
        layer: nn.Conv2d = self.get_submodule(name)  # type: ignore[assignment]
        return layer


def initialise(net: VGG, scheme: str, seed: int) -> None:
    """Fill a net with fresh random weights; biases are zero.

    Parameters
    ----------
    net : VGG
        Changed in place.
    scheme : {"glorot", "normal", "literal"}
        Uniform after Glorot & Bengio; normal with standard deviation 0.01; or normal with the variance of 0.01 that
        the paper names.
    seed : int
        Of a generator of its own; the global one is left alone.

    References
    ----------
    Simonyan & Zisserman (2015), Sect. 3.1. The paper says "10^-2 variance", which diverges at its learning rate; the
    Caffe models of the time used a standard deviation of 0.01.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in vgg.weight_layers(net.spec):
            weight, bias = net.get_parameter(f"{layer.name}.weight"), net.get_parameter(f"{layer.name}.bias")
            # fc6 is stored as a convolution but trained as a matrix: its fan-out is its number of outputs, not outputs
            # x 49.
            view = weight.view(weight.shape[0], -1) if layer.name.startswith("fc") else weight
            if scheme == "glorot":
                nn.init.xavier_uniform_(view, generator=generator)
            else:
                nn.init.normal_(view, std=STANDARD_DEVIATIONS[scheme], generator=generator)
            bias.zero_()
