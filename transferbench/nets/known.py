"""Published copies of VGG weights: where they are, how each is recognised, and whether they are the paper's."""

from dataclasses import dataclass

from transferbench.expected import Expected

PAPER = {"D": "the paper's net D", "E": "the paper's net E"}
RETRAINED = "retrained by torchvision, not the paper's"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownWeights:
    """One published file.

    Parameters
    ----------
    net : str
        Column of Table 1.
    format : str
        Key of `transferbench.nets.importers.FORMATS`.
    original : bool
        Whether these are the weights that the authors released.
    file : str
        Its name at the publisher.
    urls : tuple of str
        Address and mirrors.
    sha256, sha384, md5 : str or None
        As published; of sha256 perhaps only the first digits.
    size : int or None
        In bytes.
    source : str
        Who published it.
    """

    net: str
    format: str
    original: bool
    file: str
    urls: tuple[str, ...]
    source: str
    sha256: str | None = None
    sha384: str | None = None
    md5: str | None = None
    size: int | None = None

    @property
    def label(self) -> str:
        """What the weights are, for people."""
        return PAPER[self.net] if self.original else RETRAINED

    @property
    def expected(self) -> Expected:
        """What a file is held against to be this one."""
        return Expected(sha256=self.sha256, sha384=self.sha384, md5=self.md5, size=self.size)


_OXFORD = "http://www.robots.ox.ac.uk/~vgg/software/very_deep/caffe"
_KERAS = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg{n}",
    "https://github.com/fchollet/deep-learning-models/releases/download/v0.1",
)
_MATCONVNET = "https://www.vlfeat.org/matconvnet/models"
_CONVERTED = ("https://s3-us-west-2.amazonaws.com/jcjohns-models", "https://web.eecs.umich.edu/~justincj/models")
_TORCHVISION = "https://download.pytorch.org/models"


def _caffe(n: int, net: str, size: int, *, sha256: str | None = None, sha384: str | None = None) -> KnownWeights:
    file = f"VGG_ILSVRC_{n}_layers.caffemodel"
    return KnownWeights(
        net=net,
        format="caffe",
        original=True,
        file=file,
        urls=(f"{_OXFORD}/{file}",),
        size=size,
        sha256=sha256,
        sha384=sha384,
        source="the authors, for Caffe",
    )


def _keras(n: int, net: str, size: int, md5: str) -> KnownWeights:
    file = f"vgg{n}_weights_tf_dim_ordering_tf_kernels.h5"
    return KnownWeights(
        net=net,
        format="keras",
        original=True,
        file=file,
        urls=tuple(f"{base.format(n=n)}/{file}" for base in _KERAS),
        size=size,
        md5=md5,
        source="keras.applications, converted from the authors'",
    )


def _matconvnet(n: int, net: str, md5: str) -> KnownWeights:
    file = f"imagenet-vgg-verydeep-{n}.mat"
    return KnownWeights(
        net=net,
        format="matconvnet",
        original=True,
        file=file,
        urls=(f"{_MATCONVNET}/{file}",),
        md5=md5,
        source="MatConvNet, converted from the authors'",
    )


def _converted(n: int, net: str, digits: str) -> KnownWeights:
    file = f"vgg{n}-{digits}.pth"
    return KnownWeights(
        net=net,
        format="pytorch-bgr",
        original=True,
        file=file,
        urls=tuple(f"{base}/{file}" for base in _CONVERTED),
        sha256=digits,
        source="J. Johnson, converted from the authors'",
    )


def _torchvision(n: int, net: str, digits: str) -> KnownWeights:
    file = f"vgg{n}-{digits}.pth"
    return KnownWeights(
        net=net,
        format="torchvision",
        original=False,
        file=file,
        urls=(f"{_TORCHVISION}/{file}",),
        sha256=digits,
        source=f"torchvision VGG{n}_Weights.IMAGENET1K_V1",
    )


KNOWN: dict[str, KnownWeights] = {
    "vgg16-caffe": _caffe(
        16, "D", 553_432_081, sha256="a6196bc498e45ea4cb2637114ae8db9410cf1556fd60a55ae93272371beba197"
    ),
    "vgg16-keras": _keras(16, "D", 553_467_096, "64373286793e3c8b2b4e3219cbf3544b"),
    "vgg16-matconvnet": _matconvnet(16, "D", "f72d927587ca4c97fbd165ec9cb9997f"),
    "vgg16-pytorch-bgr": _converted(16, "D", "00b39a1b"),
    "vgg19-caffe": _caffe(
        19,
        "E",
        574_671_192,
        sha384="86b83739d448a81ddc927922d4d7581e06113478106b59480097b02cc63ff51c9da7c3cd8a865b08946d07d0281d5b2e",
    ),
    "vgg19-keras": _keras(19, "E", 574_710_816, "cbe5617147190e668d6c5d5026f83318"),
    "vgg19-matconvnet": _matconvnet(19, "E", "106118b7cf60435e6d8e04f6a6dc3657"),
    "vgg19-pytorch-bgr": _converted(19, "E", "d01eb7cb"),
    "vgg11-torchvision": _torchvision(11, "A", "8a719046"),
    "vgg13-torchvision": _torchvision(13, "B", "19584684"),
    "vgg16-torchvision": _torchvision(16, "D", "397923af"),
    "vgg19-torchvision": _torchvision(19, "E", "dcbb9e9d"),
}
"""Names of ``tb weights fetch``. Hashes and sizes are those that the publishers, Keras, MatConvNet's list of models and
OpenVINO's model zoo state; of the files by PyTorch's convention the first eight digits stand in their names."""
