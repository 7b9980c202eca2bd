import pytest

from transferbench.types.scales import Scales


@pytest.mark.parametrize(
    ("text", "sides"),
    [
        ("256..768", (256, 384, 512, 640, 768)),
        ("64..128:32", (64, 96, 128)),
        ("256,384,512", (256, 384, 512)),
        ("256, 300", (256, 300)),
        ("384", (384,)),
        ("256..256", (256,)),
    ],
)
def test_scales_are_read(text, sides):
    assert Scales.parse(text).sides_px == sides


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("256..700", "not a whole number of 128-pixel steps"),
        ("768..256", "not a whole number"),
        ("256..512:0", "not a whole number"),
        ("512,256", "write 256,512"),
        ("256,256", "without repeats"),
        ("0", "at least 1 px"),
        ("", "neither a range"),
        ("256-768", "neither a range"),
    ],
)
def test_wrong_scales_say_what_to_write(text, problem):
    with pytest.raises(ValueError, match=problem):
        Scales.parse(text)


def test_scales_print_as_a_list_that_can_be_read_again():
    scales = Scales.parse("256..768")
    assert Scales.parse(str(scales)) == scales
