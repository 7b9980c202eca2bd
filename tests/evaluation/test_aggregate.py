"""Features in parts are the features one would compute from whole matrices, by every policy."""

from itertools import permutations

import numpy as np
import pytest

from transferbench.errors import FeatureError
from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts, average, unit_rows


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def plainly(arrays, kind, l2):
    """Aggregate whole matrices in float64, as the recipe's words say."""
    parts = []
    for scales in arrays:
        whole = np.stack([scale.astype(np.float64) for scale in scales])
        parts += {"stack": list(whole), "average": [whole.mean(axis=0)], "max": [whole.max(axis=0)]}[kind]
    if l2 in {"block", "both"}:
        parts = [unit(part) for part in parts]
    rows = np.concatenate(parts, axis=1)
    return unit(rows) if l2 in {"global", "both"} else rows


@pytest.mark.parametrize("kind", AGGREGATORS)
@pytest.mark.parametrize("l2", ["none", "block", "global", "both"])
@pytest.mark.parametrize("count", [1, 2])
def test_rows_are_what_the_recipe_says(nets, make_source, kind, l2, count):
    _, ids, arrays = nets
    arrays = arrays[:count]
    features = FeatureParts([[make_source(a, ids) for a in scales] for scales in arrays], AGGREGATORS[kind], l2)
    expected = plainly(arrays, kind, l2)
    found = features.read()
    assert found.ids == ids
    assert found.array.dtype == np.float32
    assert features.dimensions == expected.shape[1]
    np.testing.assert_allclose(found.array, expected, rtol=1e-5, atol=1e-7)


def test_only_a_chunk_is_read_at_a_time(nets, make_source):
    _, ids, arrays = nets
    features = FeatureParts([[make_source(a, ids, chunk=16) for a in arrays[0]]], AGGREGATORS["average"], "global")
    assert {len(chunk) for chunk in features.chunks()} == {16}


def test_what_does_not_belong_together_is_refused(nets, make_source):
    _, ids, arrays = nets
    other = make_source(arrays[0][1], tuple(reversed(ids)), name="net A at 96 px")
    with pytest.raises(FeatureError, match="net A at 64 px and net A at 96 px"):
        FeatureParts([[make_source(arrays[0][0], ids), other]], None, "none")
    narrow = make_source(arrays[0][1][:, :7], ids, name="net A at 96 px")
    with pytest.raises(FeatureError, match="do not belong together"):
        FeatureParts([[make_source(arrays[0][0], ids), narrow]], AGGREGATORS["max"], "none").read()


def test_a_row_without_direction_is_named(nets, make_source):
    _, ids, arrays = nets
    rows = arrays[0][0].copy()
    rows[123] = 0
    with pytest.raises(FeatureError, match="image-123"):
        FeatureParts([[make_source(rows, ids)]], None, "block").read()


def test_policies_by_hand(make_source):
    ids = ("a", "b")
    scales = [[make_source(np.float32([row] * 2), ids) for row in ([3, 4], [0, 2])]]
    rows = {l2: FeatureParts(scales, None, l2).read().array[0] for l2 in ("none", "block", "global", "both")}
    assert rows["none"].tolist() == [3, 4, 0, 2]
    assert rows["block"].tolist() == pytest.approx([0.6, 0.8, 0, 1])
    assert rows["global"].tolist() == pytest.approx(np.array([3, 4, 0, 2]) / np.sqrt(29))
    assert rows["both"].tolist() == pytest.approx(np.array([0.6, 0.8, 0, 1]) / np.sqrt(2))
    assert FeatureParts(scales, AGGREGATORS["average"], "none").read().array[0].tolist() == [1.5, 3]
    assert FeatureParts(scales, AGGREGATORS["max"], "none").read().array[0].tolist() == [3, 4]


@pytest.mark.parametrize("kind", AGGREGATORS)
def test_permuting_images_permutes_rows(nets, make_source, kind):
    _, ids, arrays = nets
    order = np.random.default_rng(3).permutation(len(ids))
    turned = tuple(ids[i] for i in order)
    first, second = (
        FeatureParts([[make_source(a[rows], names) for a in arrays[0]]], AGGREGATORS[kind], "both").read()
        for names, rows in ((ids, np.arange(len(ids))), (turned, order))
    )
    np.testing.assert_array_equal(second.array, first.array[order])
    np.testing.assert_array_equal(first.rows(turned), second.array)


def test_a_row_that_cancels_to_zero_is_named(make_source):
    ids = ("a", "b", "c")
    scales = [make_source(np.float32(rows), ids) for rows in ([[1, 1], [1, -1], [1, 1]], [[1, 1], [-1, 1], [1, 1]])]
    with pytest.raises(FeatureError, match="'b'.*is zero"):
        list(FeatureParts([scales], AGGREGATORS["average"], "none").chunks())


def test_an_average_is_summed_in_double_precision_whatever_the_order_of_the_scales():
    """In single precision 1e8 + 1 is 1e8, and what is left depends on what comes first."""
    scales = [np.float32([[1e8, 3.0]]), np.float32([[1.0, 1.0]]), np.float32([[-1e8, 5.0]])]
    for turned in permutations(scales):
        assert average(turned).tolist() == [[np.float32(1 / 3), 3.0]]
        assert average(turned).dtype == np.float32


def test_lengths_are_computed_in_double_precision():
    """In single precision small squares are lost beside large ones, in however many lanes a processor adds them."""
    row = np.full((1, 200_000), 2e-3, np.float32)
    row[0, :64] = 30
    assert float((unit_rows(row, ("a",)).astype(float) ** 2).sum()) == pytest.approx(1, abs=1e-6)
