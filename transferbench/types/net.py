"""Which net: the few numbers from which its layers follow."""

from dataclasses import dataclass
from typing import Literal

PoolRounding = Literal["ceil", "floor"]
N_POOLINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NetSpec:
    """Which net: a column of Table 1, and how far it is shrunk.

    Parameters
    ----------
    name : str
        Column of Table 1 (``A``, ``A-LRN``, ``B`` ... ``E``), or the name of another backbone.
    width : float, default 1.0
        Factor on every hidden width; 1 is the paper's. 64 times it must be a whole number.
    crop : int, default 224
        Side in px of the training crop, a multiple of 32. fc6 is a convolution of side crop / 32.
    n_classes : int, default 1000
        Outputs of fc8.
    pool_rounding : {"ceil", "floor"}, default "ceil"
        How a pooling layer treats an odd side: Caffe, and so the paper, rounds up; torchvision's weights were
        trained rounding down.

    Raises
    ------
    ValueError
        If a size is out of range.
    """

    name: str
    width: float = 1.0
    crop: int = 224
    n_classes: int = 1000
    pool_rounding: PoolRounding = "ceil"

    def __post_init__(self) -> None:
        if not 0 < self.width <= 4 or (64 * self.width) % 1:
            msg = f"width {self.width:g} does not give whole channel counts; use a multiple of 1/64 up to 4"
            raise ValueError(msg)
        if self.crop < 2**N_POOLINGS or self.crop % 2**N_POOLINGS:
            msg = f"crop {self.crop} is not a multiple of 32 px, which five halvings need"
            raise ValueError(msg)
        if self.n_classes < 2:
            msg = f"n_classes must be at least 2, got {self.n_classes}"
            raise ValueError(msg)

    @property
    def fc6_side(self) -> int:
        """Side of the fc6 convolution, in cells of 32 px: 7 in the paper."""
        return int(self.crop // 2**N_POOLINGS)

    def __str__(self) -> str:
        if ":" in self.name:  # another library's net comes in one size
            return f"net {self.name}"
        shrunk = f" at width {self.width:g}, crop {self.crop}" if (self.width, self.crop) != (1.0, 224) else ""
        return f"net {self.name}{shrunk}"
