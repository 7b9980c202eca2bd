import numpy as np
import pytest

from transferbench.errors import FeatureError
from transferbench.evaluation.aggregate import AGGREGATORS, aggregate, unit_rows
from transferbench.types import Descriptors, DescriptorSpec, NetSpec, Preprocessing

IDS = ("a", "b", "c")


def block(array, name="D", side=256, ids=IDS):
    spec = DescriptorSpec(
        dataset="demo",
        images_sha256="",
        net=NetSpec(name=name),
        weights_sha256="",
        preprocessing=Preprocessing(),
        short_side_px=side,
    )
    return Descriptors(ids=ids, array=np.asarray(array, np.float32), spec=spec)


@pytest.fixture
def nets():
    random = np.random.default_rng(0)
    return [
        [block(random.random((3, width)) + 0.1, name, side) for side in (256, 384)]
        for name, width in (("D", 4), ("E", 6))
    ]


def test_stack_by_hand():
    nets = [[block([[3, 4]] * 3), block([[0, 2]] * 3, side=384)]]
    rows = {
        l2: aggregate(nets, AGGREGATORS["stack"], l2).array[0].tolist() for l2 in ("none", "block", "global", "both")
    }
    assert rows["none"] == [3, 4, 0, 2]
    assert rows["block"] == pytest.approx([0.6, 0.8, 0, 1])
    assert rows["global"] == pytest.approx(np.array([3, 4, 0, 2]) / np.sqrt(29))
    assert rows["both"] == pytest.approx(np.array([0.6, 0.8, 0, 1]) / np.sqrt(2))


def test_average_and_max_by_hand():
    nets = [[block([[3, 4]] * 3), block([[5, 0]] * 3, side=384)]]
    assert aggregate(nets, AGGREGATORS["average"], "none").array[0].tolist() == [4, 2]
    assert aggregate(nets, AGGREGATORS["max"], "none").array[0].tolist() == [5, 4]


def test_nets_are_put_side_by_side_after_their_scales(nets):
    averaged = aggregate(nets, AGGREGATORS["average"], "both").array
    d, e = (np.mean([b.array for b in scales], axis=0) for scales in nets)
    expected = np.concatenate(
        [d / np.linalg.norm(d, axis=1, keepdims=True), e / np.linalg.norm(e, axis=1, keepdims=True)], axis=1
    ) / np.sqrt(2)
    assert averaged == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", list(AGGREGATORS))
@pytest.mark.parametrize("l2", ["global", "both"])
def test_rows_have_unit_norm_and_are_float32(nets, name, l2):
    features = aggregate(nets, AGGREGATORS[name], l2)
    assert features.array.dtype == np.float32
    assert np.linalg.norm(features.array.astype(float), axis=1) == pytest.approx(np.ones(3), abs=1e-6)


@pytest.mark.parametrize("name", list(AGGREGATORS))
def test_permuting_images_permutes_rows(nets, name):
    order = [2, 0, 1]
    ids = tuple(IDS[i] for i in order)
    shuffled = [[block(b.array[order], b.spec.net.name, b.spec.short_side_px, ids) for b in scales] for scales in nets]
    features = aggregate(nets, AGGREGATORS[name], "both")
    assert np.array_equal(aggregate(shuffled, AGGREGATORS[name], "both").array, features.array[order])
    assert np.array_equal(features.rows(ids), features.array[order])


def test_blocks_of_other_images_or_sizes_are_refused():
    with pytest.raises(FeatureError, match="do not belong together"):
        aggregate(
            [[block([[1, 1]] * 3), block([[1, 1]] * 3, side=384, ids=("a", "c", "b"))]], AGGREGATORS["stack"], "both"
        )
    with pytest.raises(FeatureError, match="do not belong together"):
        aggregate([[block([[1, 1]] * 3), block([[1, 1, 1]] * 3, side=384)]], AGGREGATORS["average"], "both")


def test_a_row_that_cancels_to_zero_is_named():
    with pytest.raises(FeatureError, match="'b'.*is zero"):
        aggregate(
            [[block([[1, 1], [1, -1], [1, 1]]), block([[1, 1], [-1, 1], [1, 1]], side=384)]],
            AGGREGATORS["average"],
            "none",
        )


def test_lengths_are_computed_in_double_precision():
    row = np.full((1, 100_000), 1e-3, np.float32)
    row[0, 0] = 1e3
    assert float((unit_rows(row).astype(float) ** 2).sum()) == pytest.approx(1, abs=1e-6)
