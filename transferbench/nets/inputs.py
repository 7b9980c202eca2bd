"""From bytes to a net's input, as the weights' own preprocessing says; and nets that take bytes."""

from itertools import chain

import torch
from torch import Tensor, nn

from transferbench.nets import vgg
from transferbench.nets.backbones import PooledNet
from transferbench.nets.head import Head
from transferbench.nets.modules import VGG
from transferbench.types.preprocessing import Preprocessing


class InputLayer(nn.Module):
    """Channel order, value range, mean and deviation, as a layer.

    Parameters
    ----------
    preprocessing : Preprocessing
        Stored with the weights.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self._reverse = preprocessing.channel_order == "BGR"
        self._range = preprocessing.value_range
        self.register_buffer("_mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("_std", torch.tensor(preprocessing.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor, shifts: Tensor | None = None) -> Tensor:
        """Turn bytes into input.

        Parameters
        ----------
        images : Tensor of shape (N, H, W, 3), uint8
            RGB.
        shifts : Tensor of shape (N, 3), optional
            Added to every pixel of an image, in grey levels of 0-255, R G B, whatever the net's own order and range.
            The sum is neither rounded nor cut off at 0 and 255.

        Returns
        -------
        Tensor of shape (N, 3, H, W), float32
            In channels-last memory, which the bytes already have.
        """
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        if shifts is not None:
            x = x + shifts[:, :, None, None]
        if self._reverse:
            x = x.flip(1)
        if self._range != 255.0:
            x = x * (self._range / 255.0)
        x = x - self.get_buffer("_mean")
        # Division by one is exact, so the paper's preprocessing is left as it is.
        return (x / self.get_buffer("_std")).contiguous(memory_format=torch.channels_last)


class Classifier(nn.Module):
    """A net that classifies crops given as bytes; what training works on.

    Parameters
    ----------
    net : VGG
        Trained in place.
    preprocessing : Preprocessing
        Becomes its first layer.
    """

    def __init__(self, net: VGG, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.inputs = InputLayer(preprocessing)
        self.net = net.to(memory_format=torch.channels_last)

    def forward(self, crops: Tensor, shifts: Tensor | None = None, draws: Tensor | None = None) -> Tensor:
        """Classify crops.

        Parameters
        ----------
        crops : Tensor of shape (N, crop, crop, 3), uint8
            RGB.
        shifts : Tensor of shape (N, 3), optional
            Colour shifts of training, see `InputLayer`.
        draws : Tensor of shape (N,), int64, optional
            A random number per image for dropout, see `VGG`.

        Returns
        -------
        Tensor of shape (N, n_classes)
            Scores before the soft-max.
        """
        scores: Tensor = self.net(self.inputs(crops, shifts), draws)
        return scores


class DenseBackbone(nn.Module):
    """The paper's descriptor: the dense net's fc7 after ReLU, averaged over positions; or that of another net or layer.

    Parameters
    ----------
    net : VGG or PooledNet
        With its weights.
    preprocessing : Preprocessing
        Stored with the weights.
    layer : str, default "fc7+relu"
        Of a net of Table 1; another net has but one.
    """

    def __init__(self, net: VGG | PooledNet, preprocessing: Preprocessing, layer: str = "fc7+relu") -> None:
        super().__init__()
        self.inputs = InputLayer(preprocessing)
        self.net: VGG | PooledNet = net
        self._layer = layer
        if isinstance(net, VGG):
            # The head reads the rows of fc6's filters as they are; in another order it would copy them at every call.
            for convolution in chain.from_iterable(vgg.blocks(net.spec)):
                net.get_submodule(convolution.name).to(memory_format=torch.channels_last)
            self.head = Head(net, layer)
        else:
            net.to(memory_format=torch.channels_last)
        self.eval()

    @property
    def margin_px(self) -> int:
        """How far a cell of the trunk's map sees beyond its own pixels; known of the nets of Table 1."""
        return vgg.margin_px(self._table_1().spec)

    def trunk(self, images: Tensor) -> Tensor:
        """Apply the convolutional blocks of a net of Table 1; `head` does the rest.

        Parameters
        ----------
        images : Tensor of shape (N, H, W, 3), uint8
            RGB.

        Returns
        -------
        Tensor of shape (N, C, h, w)
            The last pooling's output.
        """
        return self._table_1().trunk(self.inputs(images))

    @property
    def n_dimensions(self) -> int:
        """Length of a descriptor of a net of Table 1; another net's is known when it has described something."""
        spec = self._table_1().spec
        fc6, fc7, _ = vgg.fully_connected(spec)
        last = vgg.blocks(spec)[-1][-1]
        return {"fc7+relu": fc7, "fc6+relu": fc6, "pool5": last}[self._layer].outputs

    def forward(self, images: Tensor) -> Tensor:
        """Describe images of one size.

        Parameters
        ----------
        images : Tensor of shape (N, H, W, 3), uint8
            RGB.

        Returns
        -------
        Tensor of shape (N, D)
            D is 4096 at the paper's width.
        """
        given = self.inputs(images)
        if isinstance(self.net, PooledNet):
            return self.net.describe(given)
        descriptors: Tensor = self.head(self.net.trunk(given))
        return descriptors

    def _table_1(self) -> VGG:
        if not isinstance(self.net, VGG):
            msg = "only the nets of Table 1 know that beforehand"
            raise TypeError(msg)
        return self.net


class PixelBackbone(nn.Module):
    """No net at all: the central square of the image, flattened. A floor for every descriptor.

    Parameters
    ----------
    side_px : int
        Side of the square, which is the short side of the rescaled image.
    """

    def __init__(self, side_px: int) -> None:
        super().__init__()
        self._side = side_px
        self.n_dimensions = 3 * side_px**2

    def forward(self, images: Tensor) -> Tensor:
        """Describe images of one size.

        Parameters
        ----------
        images : Tensor of shape (N, H, W, 3), uint8
            RGB, short side `side_px`.

        Returns
        -------
        Tensor of shape (N, 3 side^2), float32
            Values 0-255.
        """
        top, left = ((length - self._side) // 2 for length in images.shape[1:3])
        square = images[:, top : top + self._side, left : left + self._side]
        return square.flatten(start_dim=1).to(torch.float32)
