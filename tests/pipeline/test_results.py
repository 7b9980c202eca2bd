"""The store of results: found, compared by their inputs first, copied, deleted."""

import json
import shutil

import pytest
from click.testing import CliRunner

from transferbench.cli import main
from transferbench.errors import EvaluationError

RECIPE = """# A very slim random net.
version: 1
dataset: digits
features:
  nets:
    - {name: A, width: 0.03125, crop: 32, weights: {kind: random, seed: 3}}
  scales: [32, 48]
  flip: true
aggregate: {kind: HOW, l2: both}
svm:
  loss: squared_hinge
  C: [1.0, 10.0]
  selection: validation
claims: null
"""


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    runner = CliRunner(env={"TB_HOME": str(folder / "home")})

    def run(*arguments):
        done = runner.invoke(main, [str(argument) for argument in arguments])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    run.folder = folder
    for how in ("stack", "average"):
        (folder / f"{how}.yaml").write_text(RECIPE.replace("HOW", how))
        assert run("evaluate", "--recipe", folder / f"{how}.yaml", "--extract").exit_code == 0
    return run


def test_results_are_found_by_recipe_dataset_net_and_date(call):
    def names(*options):
        return [row["recipe"] for row in json.loads(call("results", "list", "--json", *options).stdout)]

    assert names() == ["stack", "average"]
    assert names("--recipe", "stack") == ["stack"]
    assert names("--dataset", "voc2007") == names("--net", "D") == names("--since", "2999-01-01") == []
    assert names("--net", "A", "--since", "2020-01-01", "--dataset", "digits") == ["stack", "average"]
    assert json.loads(call("results", "show", "stack", "--json").stdout)["recipe_name"] == "stack"
    (found,) = json.loads(call("results", "list", "--json", "--recipe", "average").stdout)
    shown = json.loads(call("results", "show", "average", "--json").stdout)["scores"][0]
    assert [found[key] for key in ("value", "std", "interval")] == [shown[key] for key in ("mean", "std", "interval")]
    assert (found["metric"], found["limit"]) == ("mean class recall", None)
    by_name = json.loads(call("results", "show", found["folder"].rpartition("/")[2], "--json").stdout)
    assert by_name["folder"] == found["folder"]
    wrong = call("results", "list", "--since", "yesterday")
    assert (wrong.exit_code, "'yesterday' does not match the format" in wrong.stderr) == (2, True)
    assert "95% interval" in call("results", "show", "stack").stdout


@pytest.mark.filterwarnings("always")
def test_a_damaged_result_is_told_and_hides_no_other(call, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(call.folder / "home", home)
    made = next((home / "results" / "stack").iterdir())
    # Of another day, so that the result made below has a name of its own.
    file = made.rename(made.with_name("20000101T000000Z-" + made.name.split("-")[1])) / "result.json"
    file.write_text("{")
    options = ("--home", home)
    done = call("results", "list", "--json", *options)
    assert [row["recipe"] for row in json.loads(done.stdout)] == ["average"]
    assert f"left out: {file}: is damaged or of another version: Invalid JSON" in done.stderr
    assert f"tb results rm {file.parent}" in done.stderr
    assert call("report", "--no-images", *options).stdout.startswith("average: ")
    named = call("report", "stack", *options)
    assert (named.exit_code, named.stdout) == (1, "")
    assert call("evaluate", "--recipe", call.folder / "stack.yaml", *options).exit_code == 0  # makes it again
    assert call("results", "rm", "--yes", file.parent, *options).exit_code == 0
    assert {row["recipe"] for row in json.loads(call("results", "list", "--json", *options).stdout)} == {
        "stack",
        "average",
    }


def test_what_differs_is_told_before_which_number_is_higher(call):
    done = call("results", "compare", "stack", "average")
    assert done.exit_code == 0
    text = done.stdout
    assert text.index("recipe.aggregate.kind") < text.index("difference")
    found = json.loads(call("results", "compare", "stack", "average", "--json").stdout)["others"][0]
    assert {d["input"] for d in found["differences"]} == {"recipe.aggregate.kind"}
    stack, average = (
        json.loads(call("results", "show", n, "--json").stdout)["scores"][0] for n in ("stack", "average")
    )
    assert found["paired"]["difference"] == pytest.approx(stack["mean"] - average["mean"])
    assert found["paired"]["interval"][0] <= found["paired"]["difference"] <= found["paired"]["interval"][1]
    assert found["p_holm"] == found["paired"]["p_permutation"]
    same = call("results", "compare", "stack", "stack").stdout
    assert "nothing that went in differs" in same
    assert "+0.00 points" in same


def test_floors_and_claims_are_no_difference_and_blocks_are_told_by_what_they_are_of(call, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(call.folder / "home", home)
    fewer = tmp_path / "fewer.yaml"
    text = RECIPE.replace("HOW", "stack").replace("[32, 48]", "[48]")
    fewer.write_text(text.replace("claims:", "floors: [{kind: raw_pixels, side: 8}]\nclaims:"))
    assert call("evaluate", "--recipe", fewer, "--extract", "--home", home).exit_code == 0
    done = call("results", "compare", "stack", "fewer", "--json", "--home", home)
    found = {d["input"]: (d["first"], d["this"]) for d in json.loads(done.stdout)["others"][0]["differences"]}
    assert set(found) == {"recipe.features.scales", "block A 32 px image"}
    assert found["recipe.features.scales"] == ("[32, 48]", "[48]")
    assert found["block A 32 px image"][1] == "none"


def test_the_end_of_a_low_shot_curve_is_the_whole_protocol(call, tmp_path):
    """Ten images of every digit are all there are, so the curve's number is that of the recipe without a curve."""
    home = tmp_path / "home"
    shutil.copytree(call.folder / "home", home)
    curve = tmp_path / "curve.yaml"
    low_shot = "low_shot: {train_per_class: [1, 10], C_without_validation: 1.0}"
    curve.write_text(RECIPE.replace("HOW", "stack").replace("claims:", f"{low_shot}\nclaims:"))
    assert call("evaluate", "--recipe", curve, "--home", home).exit_code == 0
    listed = json.loads(call("results", "list", "--json", "--home", home).stdout)
    ours = {row["recipe"]: (row["value"], row["std"], row["interval"]) for row in listed}
    assert ours["curve"] == ours["stack"]
    found = json.loads(call("results", "compare", "stack", "curve", "--json", "--home", home).stdout)["others"][0]
    assert (found["paired"]["difference"], found["paired"]["p_permutation"]) == (0.0, 1.0)


def test_a_comparison_that_fails_is_no_other_test_images(call, monkeypatch):
    def failing(*_):
        msg = "no score can be computed"
        raise EvaluationError(msg)

    monkeypatch.setattr("transferbench.pipeline.results.compare", failing)
    done = call("results", "compare", "stack", "average")
    assert done.exit_code == 1
    assert "no score can be computed" in done.stderr
    monkeypatch.setattr("transferbench.pipeline.results.same_images", lambda *_: False)
    found = json.loads(call("results", "compare", "stack", "average", "--json").stdout)["others"][0]
    assert found["paired"] is None


def test_a_result_is_copied_and_deleted_whole(call, tmp_path):
    assert call("results", "export", "stack", tmp_path / "copy").exit_code == 0
    assert {"result.json", "test-scores.npz"} <= {path.name for path in (tmp_path / "copy").iterdir()}
    assert call("results", "export", "stack", tmp_path / "copy").exit_code == 1
    assert call("results", "rm", tmp_path / "copy", "--yes").exit_code == 1
    (folder,) = (call.folder / "home" / "results" / "average").iterdir()
    asked = call("results", "rm", folder)
    assert (asked.exit_code, str(folder) in asked.stderr, asked.stdout) == (1, True, "")
    recipe = call("results", "rm", "average", "--yes")
    assert (recipe.exit_code, f"Do you mean {folder}" in recipe.stderr) == (1, True)
    assert call("results", "rm", folder.name, "nosuch", "--yes").exit_code == 1
    assert folder.exists()
    assert json.loads(call("results", "rm", folder.name, folder, "--yes", "--json").stdout) == [
        {"deleted": str(folder)}
    ]
    assert not folder.exists()
    assert call("results", "compare", "stack").exit_code == 2
