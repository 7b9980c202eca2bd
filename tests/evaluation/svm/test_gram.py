"""The Gram matrix and the scores of features in parts are those of the whole rows, which are never made."""

import numpy as np
import pytest

from transferbench.cache.block import Block
from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts, Source
from transferbench.evaluation.svm import gram as module
from transferbench.evaluation.svm import scoring
from transferbench.evaluation.svm.gram import gram_matrix, sub_matrix
from transferbench.evaluation.svm.scoring import dual_scores, primal_scores
from transferbench.types.descriptors import DescriptorSpec
from transferbench.types.net import NetSpec
from transferbench.types.preprocessing import Preprocessing


@pytest.fixture(params=[2048, 0], ids=["float64", "float32"])
def precision(request, monkeypatch):
    monkeypatch.setattr(module, "FLOAT64_UP_TO", request.param)
    return 1e-6 if request.param else 2e-5


@pytest.mark.parametrize("kind", AGGREGATORS)
@pytest.mark.parametrize("l2", ["none", "block", "global", "both"])
def test_gram_matrix_is_that_of_the_explicit_features(nets, make_source, precision, kind, l2):
    _, ids, arrays = nets
    features = FeatureParts([[make_source(a, ids) for a in scales] for scales in arrays], AGGREGATORS[kind], l2)
    chosen = tuple(ids[i] for i in np.random.default_rng(0).permutation(240)[:150])
    rows = features.read().rows(chosen).astype(np.float64)
    expected = rows @ rows.T + 4
    np.testing.assert_allclose(gram_matrix(features, chosen, bias=2.0), expected, rtol=precision)


@pytest.mark.parametrize("kind", AGGREGATORS)
@pytest.mark.parametrize("l2", ["none", "global", "both"])
def test_scores_are_those_of_explicit_weight_vectors(nets, make_source, precision, kind, l2):
    _, ids, arrays = nets
    features = FeatureParts([[make_source(a, ids) for a in scales] for scales in arrays], AGGREGATORS[kind], l2)
    rng = np.random.default_rng(1)
    machines, tests, expected = [], [], []
    for split in range(2):
        order = rng.permutation(240)
        train, test = (tuple(ids[i] for i in order[part]) for part in (slice(0, 90 + split), slice(100, 140)))
        coefficients = rng.standard_normal((3, len(train)))
        rows = features.read()
        weights = coefficients @ rows.rows(train).astype(np.float64)
        expected.append(rows.rows(test) @ weights.T + 4 * coefficients.sum(axis=1))
        machines.append((train, coefficients))
        tests.append(test)
    for form in (primal_scores, dual_scores):
        for ours, theirs in zip(form(features, machines, tests, bias=2.0), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=precision, atol=10 * precision * np.abs(theirs).max())


def test_a_cut_out_matrix_is_the_matrix_of_those_images():
    gram = np.random.default_rng(0).standard_normal((130, 130))
    rows = np.array([5, 2, 129, 64], dtype=np.int64)
    np.testing.assert_array_equal(sub_matrix(gram, rows), gram[np.ix_(rows, rows)])
    assert sub_matrix(gram, np.arange(130)) is gram


def test_shards_on_disk_make_the_same_matrix(tmp_path):
    ids = tuple(f"image-{i:03d}" for i in range(300))
    rng = np.random.default_rng(2)
    sources, arrays = [], []
    for side in (64, 96):
        spec = DescriptorSpec(
            dataset="imaginary",
            images_sha256="0" * 64,
            net=NetSpec(name="A"),
            weights_sha256="1" * 64,
            preprocessing=Preprocessing(),
            short_side_px=side,
        )
        block = Block.of(tmp_path, spec, ids)
        array = rng.random((300, 12), dtype=np.float32)
        for index in range(block.n_shards):
            block.write(index, array[256 * index : 256 * (index + 1)])
        block.finish({"engine": "none"})
        arrays.append(array / np.linalg.norm(array, axis=1, keepdims=True))
        sources.append(Source(str(side), ids, lambda b=block: (shard.array for shard in b.shards())))
    features = FeatureParts([sources], AGGREGATORS["stack"], "block")
    rows = np.concatenate(arrays, axis=1).astype(np.float64)
    np.testing.assert_allclose(gram_matrix(features, ids, bias=1.0), rows @ rows.T + 1, rtol=1e-6)


def test_a_matrix_larger_than_its_tiles_is_filled_on_both_sides(make_source):
    rng = np.random.default_rng(4)
    for n in (1, 63, 64, 65, 200):
        ids = tuple(f"{i:03d}" for i in range(n))
        array = rng.random((n, 5), dtype=np.float32) + np.float32(0.1)
        found = gram_matrix(FeatureParts([[make_source(array, ids)]], None, "none"), ids, bias=0.0)
        np.testing.assert_array_equal(found, found.T)
        np.testing.assert_allclose(found, array.astype(np.float64) @ array.T, rtol=1e-6)


@pytest.mark.parametrize(("n_classes", "form"), [(3, "primal_scores"), (300, "dual_scores")])
def test_the_cheaper_form_of_scores_is_taken(nets, make_source, monkeypatch, n_classes, form):
    _, ids, arrays = nets
    monkeypatch.setattr(scoring, form, lambda *_: ["taken"])
    features = FeatureParts([[make_source(arrays[0][0], ids)]], None, "none")
    machines = [(ids[:100], np.ones((n_classes, 100)))]
    assert scoring.scores_of_tests(features, machines, [ids[100:]], 1.0) == ["taken"]
