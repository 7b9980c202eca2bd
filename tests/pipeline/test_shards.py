"""The images of a shard: every row its own image, whatever is kept, decoded again or skipped."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image

from transferbench.errors import BadImageError, DatasetError
from transferbench.extraction.prefetch import prefetching
from transferbench.pipeline import shards
from transferbench.pipeline.shards import ShardImages

IDS = ("a", "b", "c", "d", "e")
SIDE = 4


@dataclass
class Coloured:
    """Pictures of one colour each, of different lengths; counts how often each is decoded."""

    bad: tuple[str, ...] = ()
    decoded: list[str] = field(default_factory=list)

    def image(self, image_id):
        if image_id in self.bad:
            raise BadImageError(image_id, "is damaged")
        self.decoded.append(image_id)
        return Image.new("RGB", (8, 8 + IDS.index(image_id)), (10 * IDS.index(image_id), 0, 0))


class Scale:
    """What `rescaled` asks of a block."""

    class spec:  # noqa: N801
        short_side_px = SIDE

        class preprocessing:  # noqa: N801
            interpolation = "bicubic"


def colours(images, order):
    return [int(pixels[0, 0, 0]) // 10 for pixels in images.rescaled(Scale)(order)]


def opened(pictures, on_bad_image="stop"):
    with prefetching(3) as prefetch:
        images = ShardImages(pictures, IDS, prefetch, on_bad_image)
        order = list(range(len(images.sizes(SIDE))))
        return images, colours(images, order), colours(images, order[::-1])


def test_images_are_decoded_once_and_come_in_the_order_that_is_asked_for():
    pictures = Coloured()
    images, forth, back = opened(pictures)
    assert (forth, back) == ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])
    assert sorted(pictures.decoded) == list(IDS)
    assert images.sizes(8) == [(8, 8), (8, 9), (8, 10), (8, 11), (8, 12)]


def test_what_is_too_much_to_keep_is_decoded_again_and_is_the_same(monkeypatch):
    monkeypatch.setattr(shards, "KEPT_BYTES", 3 * 8 * (8 + 9))
    pictures = Coloured()
    _, forth, back = opened(pictures)
    assert (forth, back) == ([0, 1, 2, 3, 4], [4, 3, 2, 1, 0])
    assert [pictures.decoded.count(image_id) for image_id in IDS] == [1, 1, 3, 3, 3]


@pytest.mark.parametrize("kept", [1 << 20, 3 * 8 * 8, 0])
def test_the_others_keep_their_pixels_where_one_is_skipped(monkeypatch, kept):
    monkeypatch.setattr(shards, "KEPT_BYTES", kept)
    images, forth, back = opened(Coloured(bad=("b", "d")), "skip")
    assert images.skipped == {"b": "is damaged", "d": "is damaged"}
    assert (forth, back) == ([0, 2, 4], [4, 2, 0])
    assert images.sizes(8) == [(8, 8), (8, 10), (8, 12)]


def test_the_first_bad_image_in_row_order_stops_the_work():
    with pytest.raises(DatasetError, match="image 'b' cannot be decoded"):
        opened(Coloured(bad=("d", "b")))


def test_decoding_and_rescaling_are_timed_beside_the_net(monkeypatch):
    monkeypatch.setattr(shards, "KEPT_BYTES", 0)
    images, _, _ = opened(Coloured())
    found = images.spent.at(SIDE)
    assert min(found.decoding, found.rescaling, found.waiting_for_images) > 0
    assert found.net <= 0  # nothing was described: all there was is waiting


def test_pixels_are_those_that_pillow_rescales():
    with prefetching(1) as prefetch:
        images = ShardImages(Coloured(), IDS, prefetch)
        (pixels,) = images.rescaled(Scale)([2])
    assert pixels.shape == (5, 4, 3)
    assert np.array_equal(pixels, np.full((5, 4, 3), (20, 0, 0)))
