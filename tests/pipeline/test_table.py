"""Several results in one table: what stands beside the paper, and on which side of it."""

import pytest

from tests.reporting import gallery
from transferbench.pipeline import table
from transferbench.pipeline.many import Outcome
from transferbench.pipeline.table import HEAD, against_best, lines_of
from transferbench.reporting.result import save_result


@pytest.fixture(scope="module")
def caltech():
    """A result whose recipe claims 91.8 ± 1.0."""
    result = gallery.views(small=True)[0].entry.result
    first = result.scores[0].model_copy(update={"mean": 0.90349, "std": 0.0049, "interval": (0.8951, 0.91149)})
    recipe = result.recipe | {"claims": "caltech101/vgg-d"}
    return result.model_copy(update={"scores": (first, *result.scores[1:]), "recipe": recipe})


def line(result, folder):
    (told,) = lines_of([Outcome(name="x", folder=save_result(folder, result), missing=())])
    return dict(zip(HEAD, told.cells, strict=True)), told.plain


def test_a_lower_number_than_the_papers_has_a_minus(caltech, tmp_path):
    cells, plain = line(caltech, tmp_path)
    assert cells["ours"] == "90.3 ± 0.5"
    assert cells["95% interval"] == "89.5 – 91.1"
    assert (cells["reference"], cells["difference"]) == ("91.8 ± 1.0", "-1.5")
    assert (plain["value"], plain["std"], plain["reference"]) == (0.90349, 0.0049, 0.918)
    assert plain["interval"] == (0.8951, 0.91149)


def test_a_trial_and_a_recipe_without_a_claim_stand_beside_nothing(caltech, tmp_path):
    for name, changes in (("trial", {"limit": 5}), ("own", {"recipe": caltech.recipe | {"claims": None}})):
        cells, plain = line(caltech.model_copy(update=changes), tmp_path / name)
        assert (cells["reference"], cells["difference"], plain["reference"]) == ("", "", None)
        assert cells["ours"] == "90.3 ± 0.5" + " TRIAL" * (name == "trial")
        assert plain["limit"] == changes.get("limit")


def test_the_number_of_a_low_shot_curve_is_that_of_its_largest_count(caltech, tmp_path):
    whole, *floors = caltech.scores
    counts = ((1, 0.5), (30, 0.90349))
    curve = [whole.model_copy(update={"train_per_class": n, "mean": mean}) for n, mean in counts]
    cells, plain = line(caltech.model_copy(update={"scores": (*curve, *floors)}), tmp_path)
    assert (cells["ours"], cells["difference"], plain["value"]) == ("90.3 ± 0.5", "-1.5", 0.90349)


def test_the_best_of_several_curves_is_the_one_that_ends_highest(caltech, tmp_path, monkeypatch):
    """And not the one that begins highest."""
    whole, *floors = caltech.scores
    outcomes = []
    for name, means in (("a", (0.6, 0.8)), ("b", (0.5, 0.9))):
        curve = [
            whole.model_copy(update={"train_per_class": n, "mean": mean})
            for n, mean in zip((1, 30), means, strict=True)
        ]
        result = caltech.model_copy(update={"scores": (*curve, *floors)})
        outcomes.append(Outcome(name=name, folder=save_result(tmp_path / name, result), missing=()))
    held = []  # the scores of single images, which these results have not
    monkeypatch.setattr(table, "hold_against", lambda best, others: held.append((best, others)) or [None])
    told = against_best(outcomes, lines_of(outcomes))
    assert [one.plain["is_best"] for one in told] == [False, True]
    ((best, (other,)),) = held
    assert (best.folder, other.folder) == (outcomes[1].folder, outcomes[0].folder)


def test_what_is_missing_is_a_line_without_numbers():
    (told,) = lines_of([Outcome(name="x", folder=None, missing=("tb extract",))])
    assert dict(zip(HEAD, told.cells, strict=True))["ours"] == "missing"
    assert told.plain == {"name": "x", "result": None, "missing": ["tb extract"]}
