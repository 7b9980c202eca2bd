"""The squares of training beside the exact way: rescale the whole image, then cut."""

import io
import pickle

import numpy as np
import pytest
from PIL import Image

from transferbench.data.encoded import REDUCED_MARGIN, EncodedPictures, FileImages
from transferbench.data.images import read_image, rescale
from transferbench.errors import DatasetError


@pytest.fixture
def write(tmp_path, photographs):
    """Write a photograph at a size, and return its path."""

    def made(size, *, format="JPEG", mode="RGB", name="photo.jpg", **options):  # noqa: A002
        path = tmp_path / name
        photographs[0].resize(size, Image.Resampling.BICUBIC).convert(mode).save(path, format, **options)
        return path

    return made


def opened(path, interpolation="bicubic", *, exact=False):
    return EncodedPictures(FileImages([str(path)]), interpolation, exact)(0)


def exact_square(path, short_side, top, left, side, interpolation="bicubic"):
    whole = rescale(read_image(path), short_side, interpolation)
    return whole[top : top + side, left : left + side].astype(int)


PLACES = [
    (0, 0),
    (32, 117),
    (17, 58),
]  # of 224 px in the 256 x 341 px of a 500 x 375 px photograph: both ends and between


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("place", PLACES)
def test_a_square_differs_from_the_exact_one_by_single_grey_levels_of_single_pixels(write, place, interpolation):
    path = write((500, 375), quality=95)
    assert opened(path).size_at(256) == (256, 341)
    square = opened(path, interpolation).crop(256, *place, 224)
    off = np.abs(square - exact_square(path, 256, *place, 224, interpolation))
    assert square.shape == (224, 224, 3)
    assert off.max() <= 1
    assert off.mean() < 2e-3


@pytest.mark.parametrize("place", PLACES)
def test_held_out_images_are_exact(write, place):
    path = write((500, 375))
    assert (opened(path, exact=True).crop(256, *place, 224) == exact_square(path, 256, *place, 224)).all()


def test_an_image_that_is_enlarged_is_the_same_too(write):
    path = write((120, 90))
    assert np.abs(opened(path).crop(256, 30, 110, 224) - exact_square(path, 256, 30, 110, 224)).max() <= 1


def test_an_image_of_the_right_size_is_cut_without_rescaling(write):
    path = write((341, 256))
    assert (opened(path).crop(256, 32, 117, 224) == exact_square(path, 256, 32, 117, 224)).all()


@pytest.mark.parametrize(
    ("size", "decoded"),
    [((1365, 1024), (683, 512)), ((1363, 1023), (1363, 1023)), ((2731, 2049), (683, 513)), ((500, 375), (500, 375))],
)
def test_a_reduced_decode_never_leaves_less_than_twice_what_is_needed(write, size, decoded):
    picture = opened(write(size))
    picture.crop(256, 0, 0, 224)
    assert picture._image.size == decoded
    assert min(decoded) >= REDUCED_MARGIN * 256 or decoded == size


@pytest.mark.parametrize("size", [(1400, 1050), (1367, 1027), (2731, 2049)])
def test_a_reduced_decode_changes_pixels_by_less_than_the_jpeg_itself_does(write, size):
    path = write(size, quality=95)
    for top, left in [(0, 0), (32, 116), (9, 71)]:
        off = np.abs(opened(path).crop(256, top, left, 224) - exact_square(path, 256, top, left, 224))
        assert off.mean() < 0.75  # grey levels
        assert np.quantile(off, 0.999) <= 8


def test_a_reduced_decode_moves_nothing(write):
    """The last pixel of a reduced image stands for a part of a block; taken for a whole one, the image would stretch."""
    path = write((1367, 1027), quality=95)
    square, whole = opened(path).crop(256, 32, 117, 224), rescale(read_image(path), 256, "bicubic").astype(int)
    off = {
        (down, across): np.abs(square[2:-2, 2:-2] - whole[34 + down : 254 + down, 119 + across : 339 + across]).mean()
        for down, across in [(0, 0), (-1, 0), (1, 0), (0, -1), (0, 1)]
    }
    assert min(off, key=off.get) == (0, 0)
    assert off[0, 0] < 0.3 * min(value for key, value in off.items() if key != (0, 0))


@pytest.mark.parametrize(
    ("mode", "format"), [("L", "JPEG"), ("CMYK", "JPEG"), ("L", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("RGB", "PNG")]
)
def test_every_mode_becomes_the_rgb_that_the_exact_way_gives(write, mode, format):  # noqa: A002
    path = write((500, 375), mode=mode, format=format, name="n02105855_2933.JPEG")
    square = opened(path).crop(256, 10, 20, 224)
    assert np.abs(square - exact_square(path, 256, 10, 20, 224)).max() <= 1


def test_exif_does_not_turn_an_image(tmp_path, photographs):
    exif = Image.Exif()
    exif[0x0112] = 6
    photographs[0].resize((500, 375)).save(tmp_path / "turned.jpg", exif=exif)
    assert opened(tmp_path / "turned.jpg").size_at(256) == (256, 341)


@pytest.mark.parametrize("exact", [False, True])
def test_damage_is_named_when_the_square_is_asked_for(write, exact):
    path = write((500, 375))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DatasetError, match="photo.jpg: is damaged: image file is truncated"):
        opened(path, exact=exact).crop(256, 0, 0, 224)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read: No such file"), (b"", "is empty"), (b"text", "is neither a JPEG nor")],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "photo.jpg").write_bytes(content)
    with pytest.raises(DatasetError, match=f"photo.jpg: {message}"):
        opened(tmp_path / "photo.jpg")


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path):
    file = io.BytesIO()
    Image.new("L", (8000, 7000)).save(file, "PNG")
    (tmp_path / "bomb.png").write_bytes(file.getvalue())
    with pytest.raises(DatasetError, match="claims 8000 x 7000 px"):
        opened(tmp_path / "bomb.png")


def test_paths_of_any_kind_come_back_and_travel_to_workers(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.jpg", "größe 1.JPEG", "b\udcff.jpg", "c")]
    files = pickle.loads(pickle.dumps(FileImages(paths)))
    assert [files.where(row) for row in range(4)] == paths
