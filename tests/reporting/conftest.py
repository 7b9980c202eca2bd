import pytest

from transferbench.reporting.result import BlockRecord, Result, SplitScore, StageRecord, VariantScore


def split(name, value, C, edge=False):
    return SplitScore(
        name=name, sha256="c" * 64, n_fit=8, n_validation=2, n_test=7, C=C, C_at_edge=edge, validation=((0.1, 0.5), (1.0, 0.9)),
        value=value, per_class=(value, value), confusion=((3, 1), (0, 3)),
    )  # fmt: skip


@pytest.fixture
def result():
    """A small result with a class name that HTML must escape."""
    ours = VariantScore(
        name="pretrained",
        title="pretrained, net D",
        dimensions=4096,
        mean=0.927,
        std=0.005,
        splits=(split("1 of 2", 0.93, 1.0), split("2 of 2", 0.924, 0.1, edge=True)),
    )
    floor = VariantScore(
        name="raw pixels", title="raw pixels", dimensions=192, mean=0.5, std=None, splits=(split("1 of 2", 0.5, 1.0),)
    )
    return Result(
        created="2026-01-02T03:04:05+00:00",
        recipe_name="demo_stack",
        recipe={
            "claims": None,
            "dataset": "demo",
            "features": {
                "nets": [{"name": "D", "width": 1.0, "crop": 224, "layer": None}],
                "scales": [256, 384],
                "flip": True,
            },
            "aggregate": {"kind": "stack", "l2": "both"},
        },
        inputs_sha256="0123456789abcdef" * 4,
        dataset="demo",
        dataset_title="A <demo>",
        metric="mean class recall",
        classes=("cat & dog", "<script>alert(1)</script>"),
        scores=(ours, floor),
        solver="liblinear",
        blocks=(BlockRecord(key="k" * 64, spec={"net": {"name": "D"}, "short_side_px": 256}),),
        weights=({"net": {"name": "D"}, "sha256": "w" * 64, "origin": {"kind": "run"}},),
        environment={"torch": "2.14.1"},
        device="cpu",
        git_commit=None,
        stages=(StageRecord(name="evaluate demo_stack", reused=False, seconds=1.25),),
    )
