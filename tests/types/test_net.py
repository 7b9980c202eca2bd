import pytest

from transferbench.types.net import NetSpec


@pytest.mark.parametrize(
    "settings", [{"width": 0.01}, {"width": 0}, {"width": 8}, {"crop": 100}, {"crop": 16}, {"n_classes": 1}]
)
def test_impossible_nets_are_refused(settings):
    with pytest.raises(ValueError, match=r"width|crop|n_classes"):
        NetSpec(name="A", **settings)
