import pytest
import torch
import torch.nn.functional as F

from transferbench.nets.winograd import WindowProducts


@pytest.mark.parametrize("size", [(7, 7), (8, 7), (9, 12), (16, 11)])
@pytest.mark.parametrize("outputs", [5, 520])
def test_products_over_windows_are_the_convolution(size, outputs):
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outputs, 6, 7, 7, generator=generator)
    maps = torch.randn(3, 6, *size, generator=generator)
    expected = F.conv2d(maps.double(), weight.double()).permute(0, 2, 3, 1).reshape(-1, outputs)
    found = WindowProducts(weight)(maps)
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() <= 2e-5 * expected.abs().max()


def test_whole_numbers_come_out_at_the_right_place():
    """One cell of the map and one of the filter: the product stands where the filter's cell meets the map's."""
    maps, weight = torch.zeros(1, 1, 9, 10), torch.zeros(1, 1, 7, 7)
    maps[0, 0, 4, 6], weight[0, 0, 3, 5] = 2.0, 3.0
    expected = torch.zeros(3, 4)
    expected[1, 1] = 6.0
    assert torch.allclose(WindowProducts(weight)(maps).view(3, 4), expected, atol=1e-5)
