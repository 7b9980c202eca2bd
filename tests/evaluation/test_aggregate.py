"""Features in parts are the features one would compute from whole matrices, by every policy."""

import numpy as np
import pytest

from transferbench.errors import FeatureError
from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts


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
