import errno
import io
import os
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from sklearn.datasets import load_sample_image

from transferbench.data.images import MAX_PIXELS, read_header, read_image, rescale, rescaled_size
from transferbench.errors import BadImageError, DatasetError


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((500, 375), 256, (341, 256)),
        ((375, 500), 256, (256, 341)),
        ((500, 333), 384, (577, 384)),
        ((8, 8), 64, (64, 64)),
        ((3, 2), 1, (2, 1)),
    ],
)
def test_the_short_side_becomes_q_and_the_long_side_is_rounded(size, short, expected):
    assert rescaled_size(*size, short) == expected


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 800))
def test_the_aspect_ratio_is_kept_to_half_a_pixel(width, height, short):
    new = rescaled_size(width, height, short)
    assert min(new) == short
    assert abs(max(new) - max(width, height) * short / min(width, height)) <= 0.5


@pytest.fixture(scope="module")
def photograph():
    return Image.fromarray(load_sample_image("flower.jpg"))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("short", [64, 256, 600])
def test_rescaling_agrees_with_torch_antialiased(photograph, interpolation, short):
    ours = rescale(photograph, short, interpolation)
    pixels = torch.from_numpy(np.array(photograph)).permute(2, 0, 1)[None]
    theirs = (
        torch.nn.functional.interpolate(pixels, ours.shape[:2], mode=interpolation, antialias=True)[0]
        .permute(1, 2, 0)
        .numpy()
    )
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert difference.max() <= 1  # both round to bytes, not always alike
    assert difference.mean() < 0.05


def test_shrinking_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert np.ptp(rescale(Image.fromarray(stripes), 16, "bicubic")[:, 2:-2].astype(int)) <= 4


def test_an_image_of_that_size_is_left_alone(photograph):
    assert (rescale(photograph, photograph.size[1], "bicubic") == np.array(photograph)).all()


def test_only_rgb_is_taken(photograph):
    with pytest.raises(ValueError, match="mode L"):
        rescale(photograph.convert("L"), 64, "bicubic")


def test_grey_is_the_same_in_three_channels(tmp_path, photo):
    path = tmp_path / "grey.jpg"
    path.write_bytes(photo(1, mode="L"))
    with Image.open(path) as grey:
        pixels = np.asarray(grey)
    assert np.array_equal(np.asarray(read_image(path)), np.repeat(pixels[:, :, None], 3, axis=2))


def test_cmyk_is_what_pillow_makes_of_it(tmp_path, photo):
    path = tmp_path / "cmyk.jpg"
    path.write_bytes(photo(2, mode="CMYK"))
    with Image.open(path) as cmyk:
        assert cmyk.mode == "CMYK"
        assert np.array_equal(np.asarray(read_image(path)), np.asarray(cmyk.convert("RGB")))


def test_a_palette_gives_its_colours(tmp_path):
    path = tmp_path / "palette.png"
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(path, transparency=b"\x00\x80")
    assert np.asarray(read_image(path))[0, 0].tolist() == [10, 200, 30]


def test_alpha_is_dropped(tmp_path):
    path = tmp_path / "alpha.png"
    Image.new("RGBA", (3, 3), (9, 8, 7, 0)).save(path)
    assert np.asarray(read_image(path))[0, 0].tolist() == [9, 8, 7]


def test_sixteen_bits_keep_the_upper_eight(tmp_path):
    path = tmp_path / "deep.png"
    Image.fromarray(np.array([[0, 255, 256], [32768, 65279, 65535]], dtype=np.uint16)).save(path)
    assert np.asarray(read_image(path))[:, :, 0].tolist() == [[0, 0, 1], [128, 254, 255]]


def test_exif_orientation_is_ignored(tmp_path, photo):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees
    with Image.open(io.BytesIO(photo(3))) as image:
        image.save(tmp_path / "turned.jpg", exif=exif)
        assert read_image(tmp_path / "turned.jpg").size == image.size


def bomb(path):
    Image.new("1", (10_000, 6_000)).save(path)  # 60 million pixels in a few kilobytes


def larger_bomb(path):
    Image.new("1", (20_000, 10_000)).save(path)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (bomb, "claims 10000 x 6000 px"),
        (larger_bomb, f"claims more than {MAX_PIXELS:,} pixels"),
        (lambda path: path.write_bytes(b""), "is empty"),
        (lambda path: path.write_text("<html>not found</html>"), "is neither a JPEG nor a PNG image"),
        (lambda path: Image.new("RGB", (4, 4)).save(path, "GIF"), "is neither a JPEG nor a PNG image"),
        (lambda _path: None, "there is no such image"),
        (lambda path: path.mkdir(), "cannot be read"),
    ],
)
def test_damage_is_named_without_decoding(tmp_path, make, told):
    path = tmp_path / "image.png"
    make(path)
    for read in (read_header, read_image):
        with pytest.raises(DatasetError) as raised:
            read(path)
        assert str(raised.value).startswith(str(path))
        assert told in str(raised.value)
        # What the system cannot read says nothing about the image: no such file may be skipped.
        assert isinstance(raised.value, BadImageError) == (told not in {"there is no such image", "cannot be read"})


def test_the_error_of_a_bad_image_survives_the_way_between_processes(tmp_path):
    bomb(tmp_path / "x.png")
    with pytest.raises(BadImageError) as raised:
        read_image(tmp_path / "x.png")
    back = pickle.loads(pickle.dumps(raised.value))
    assert str(back) == str(raised.value) == f"{tmp_path / 'x.png'}: {back.reason}.\n  {back.todo}"
    assert back.reason == f"claims 10000 x 6000 px; more than {MAX_PIXELS:,} pixels are not decoded"


def test_an_error_of_the_disk_is_no_bad_image(tmp_path, photo, monkeypatch):
    path = tmp_path / "x.jpg"
    path.write_bytes(photo(5))

    def broken(self):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(JpegImageFile, "load", broken)
    with pytest.raises(DatasetError, match="x.jpg: cannot be read: Input/output error") as raised:
        read_image(path)
    assert not isinstance(raised.value, BadImageError)


def test_a_truncated_image_is_refused_when_it_is_decoded(tmp_path, photo):
    path = tmp_path / "cut.jpg"
    path.write_bytes(photo(4, size=(200, 150))[:-700])
    assert read_header(path).width == 200
    with pytest.raises(DatasetError, match="is damaged"):
        read_image(path)
