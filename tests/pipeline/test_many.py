"""Several experiments in one command: recipes side by side, sweeps, floors on request, low-shot curves, and a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn.exceptions import ConvergenceWarning

from transferbench.cli import main
from transferbench.data import open_dataset
from transferbench.data.random_splits import low_shot_splits
from transferbench.errors import DatasetError, DocumentError, TransferbenchError
from transferbench.pipeline.floors import with_floors
from transferbench.pipeline.sweep import combinations, swept_name
from transferbench.recipe.files import load
from transferbench.recipe.transfer import Recipe
from transferbench.reporting.test_scores import load_test_scores
from transferbench.types.labels import MultiLabels

RECIPE = """# A very slim random net.
version: 1
dataset: digits
features:
  nets:
    - {name: A, width: 0.03125, crop: 32, weights: {kind: random, seed: 3}}
  scales: [32, 48]
  flip: true
aggregate: {kind: stack, l2: both}
svm:
  loss: squared_hinge
  C: [1.0, 10.0]
  selection: validation
MORE
claims: null
"""
LOW_SHOT = "low_shot: {train_per_class: [1, 2, 10], C_without_validation: 1.0}"


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    """The command line in this process, in a work folder with the descriptors of two scales."""
    folder = tmp_path_factory.mktemp("many")
    for name, more in (("quick", ""), ("shots", LOW_SHOT)):
        (folder / f"{name}.yaml").write_text(RECIPE.replace("MORE", more))
    runner = CliRunner(env={"TB_HOME": str(folder / "home")})

    def run(*arguments):
        texts = [str(folder / a) if str(a).endswith(".yaml") else str(a) for a in arguments]
        done = runner.invoke(main, texts)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done

    run.folder = folder
    assert run("extract", "--recipe", "quick.yaml").exit_code == 0
    return run


def results(call, name):
    found = sorted((call.folder / "home" / "results" / name).glob("*/result.json"), key=lambda p: p.stat().st_mtime)
    return [json.loads(path.read_text()) for path in found]


def test_several_recipes_are_told_in_one_table(call):
    done = call("evaluate", "--recipe", "quick.yaml", "--recipe", "shots.yaml", "--json")
    assert done.exit_code == 0
    first, second = json.loads(done.stdout)
    (stored,) = results(call, "quick")
    assert first["value"] == stored["scores"][0]["mean"]
    assert first["interval"] == stored["scores"][0]["interval"]
    assert first["interval"][0] < first["value"] < first["interval"][1]
    assert second["name"].endswith("shots.yaml")
    table = call("evaluate", "--recipe", "quick.yaml", "--recipe", "shots.yaml").stdout
    assert "95% interval" in table.splitlines()[0]
    assert len(table.splitlines()) == 4


def test_a_recipe_that_lacks_something_does_not_stop_the_others(call):
    lacking = call.folder / "lacking.yaml"
    lacking.write_text(RECIPE.replace("MORE", "").replace("[32, 48]", "[64]"))
    done = call("evaluate", "--recipe", "quick.yaml", "--recipe", "lacking.yaml")
    assert done.exit_code == 1
    assert "missing" in done.stdout
    assert f"  tb extract --recipe {lacking}" in done.stderr
    assert "1 of 2 experiments lack weights or descriptors" in done.stderr


def test_all_recipes_of_a_dataset_are_meant_by_its_name(call):
    done = call("evaluate", "--all", "digits")
    assert done.exit_code == 1
    assert "3 of 3 experiments lack" in done.stderr
    assert "tb pretrain --recipe digits_a" in done.stderr
    assert call("evaluate").exit_code == 2


def test_a_sweep_walks_every_combination_without_looking_at_an_image(call, monkeypatch):
    monkeypatch.setattr("transferbench.pipeline.extract.extract", lambda *_a, **_k: pytest.fail("nets were run"))
    done = call("sweep", "quick.yaml", "--set", "aggregate=stack,average,max", "--set", "scales=32,32+48", "--json")
    assert done.exit_code == 0
    rows = json.loads(done.stdout)
    assert [row["name"] for row in rows] == [
        f"quick~aggregate={how}~scales={scales}" for how in ("stack", "average", "max") for scales in ("32", "32+48")
    ]
    assert [row["dimensions"] for row in rows] == [128, 256, 128, 128, 128, 128]
    # One scale is the same whatever is done with several.
    assert rows[0]["value"] == rows[2]["value"] == rows[4]["value"]
    # What the recipe itself has done is not done again.
    call("evaluate", "--recipe", "quick.yaml")
    assert (
        not results(call, "quick~aggregate=stack~scales=32+48")
        or rows[1]["value"] == results(call, "quick")[0]["scores"][0]["mean"]
    )


def test_a_sweep_holds_every_combination_against_the_best_one(call):
    words = ("sweep", "quick.yaml", "--set", "aggregate=stack,average,max")
    lines = json.loads(call(*words, "--json").stdout)
    (best,) = [line for line in lines if line["is_best"]]
    assert best["value"] == max(line["value"] for line in lines)
    assert best["to_best"] is None
    others = [line for line in lines if not line["is_best"]]
    for line in others:
        paired = line["to_best"]
        assert paired["difference"] == pytest.approx(line["value"] - best["value"])
        assert paired["interval"][0] <= paired["difference"] <= paired["interval"][1]
    # Two comparisons: the smaller p value counts twice, the larger once, and never less than the smaller.
    low, high = sorted((line["to_best"] for line in others), key=lambda paired: paired["p_permutation"])
    assert low["p_holm"] == pytest.approx(min(1, 2 * low["p_permutation"]))
    assert high["p_holm"] == pytest.approx(max(low["p_holm"], high["p_permutation"]))
    # As `tb results compare` says it, from the best to the other.
    compared = json.loads(call("results", "compare", best["result"], others[0]["result"], "--json").stdout)
    assert json.dumps(others[0]["to_best"]["p_permutation"]) in json.dumps(compared)
    table = call(*words).stdout
    assert "p (Holm)" in table
    (line,) = [line for line in table.splitlines() if line.split()[-1:] == ["best"]]
    assert best["name"] in line


def test_a_sweep_names_the_command_that_makes_what_is_missing(call):
    done = call("sweep", "quick.yaml", "--set", "scales=32,64")
    assert done.exit_code == 1
    assert f"tb sweep {call.folder / 'quick.yaml'} --set=scales=32,64 --extract" in done.stderr
    assert done.stdout.count("missing") == 1


def test_missing_descriptors_of_whole_nets_are_told_as_extract_commands(call, monkeypatch):
    from transferbench.pipeline import many

    recipe = load("caltech256_stack_de", Recipe)
    part = type("Part", (), {})
    incomplete = type("Block", (), {"is_complete": lambda self: False})

    def block(side):
        one = incomplete()
        one.spec = type("Spec", (), {"short_side_px": side})
        return one

    own = type("Variant", (), {"name": "pretrained", "shuffle_seed": None})()
    own.parts = []
    for _ in "DE":
        one = part()
        one.blocks = [block(side) for side in (256, 384, 512)]
        own.parts.append(one)
    from transferbench.pipeline.datasets import DataOptions

    assert many._commands("whole", recipe, [own], DataOptions(limit=5)) == (
        "tb extract --dataset caltech256 --net D --weights default --scales 256,384,512 --limit 5",
        "tb extract --dataset caltech256 --net E --weights default --scales 256,384,512 --limit 5",
    )


@pytest.mark.parametrize(("asked", "told"), [
    (["scalez=1"], "unknown setting 'scalez'. Did you mean 'scales'"),
    (["scales=32", "scales=48"], "names a setting twice"),
    (["scales="], "write KEY=VALUE,VALUE"),
    (["scales=48+32"], "must ascend"),
    (["aggregate=mean"], "makes no valid recipe"),
    (["flip=maybe"], "makes no valid recipe"),
    (["regions=box+image"], "makes no valid recipe"),
])  # fmt: skip
def test_a_wrong_setting_is_named(asked, told):
    with pytest.raises(DocumentError, match=told):
        combinations(load("digits_stack", Recipe), asked)


def test_every_setting_changes_its_field():
    asked = [
        "nets=D,D+E",
        "l2=global",
        "layer=fc6",
        "flip=false",
        "regions=image+box",
        "loss=hinge",
        "weights=random:4",
    ]
    found = combinations(load("voc2012_action_image", Recipe), [*asked, "scales=256..512"])
    one, two = found.values()
    assert [net.name for net in two.features.nets] == ["D", "E"]
    assert {net.layer for net in two.features.nets} == {"fc6"}
    assert {net.weights.seed for net in two.features.nets} == {4}
    assert (one.aggregate.l2, one.features.flip, one.svm.loss) == ("global", False, "hinge")
    assert one.features.regions == ("image", "box")
    assert one.features.scales == (256, 384, 512)
    assert one.claims is None
    assert swept_name("x", next(iter(found))).startswith("x~nets=D~l2=global~layer=fc6~")


def test_low_shot_splits_lie_inside_each_other_and_share_their_test_images():
    dataset = open_dataset("digits")
    whole = dataset.splits()
    by_count = {n: low_shot_splits(dataset.record, dataset.labels, whole, n) for n in (1, 2, 5, 10)}
    for number, split in enumerate(whole):
        smaller: set[str] = set()
        for n, splits in by_count.items():
            mine = splits[number]
            assert mine.test == split.test
            assert smaller < set(mine.train) <= set(split.train)
            assert not set(mine.fit) & set(mine.validation)
            assert (np.bincount(dataset.labels.of(mine.train)) == n).all()
            assert len(mine.validation) == 10 * (0 if n == 1 else max(1, round(0.2 * n)))
            smaller = set(mine.train)
        assert by_count[10][number].sha256 == split.sha256
    with pytest.raises(DatasetError, match="has 10 training images in split 1 of 3, and low_shot asks for 11"):
        low_shot_splits(dataset.record, dataset.labels, whole, 11)
    several = MultiLabels(classes=("a", "b"), by_id=dict.fromkeys(dataset.ids, (1, -1)))
    with pytest.raises(DatasetError, match="needs one label per image"):
        low_shot_splits(dataset.record, several, whole, 1)


def test_a_low_shot_curve_ends_at_the_whole_protocol(call):
    assert call("evaluate", "--recipe", "quick.yaml", "--recipe", "shots.yaml").exit_code == 0
    whole, curve = results(call, "quick")[0], results(call, "shots")[0]
    assert [score["train_per_class"] for score in curve["scores"]] == [1, 2, 10]
    assert curve["scores"][-1]["mean"] == whole["scores"][0]["mean"]
    assert [score["title"].rpartition(", ")[2] for score in curve["scores"]] == [
        "1 per class",
        "2 per class",
        "10 per class",
    ]
    first = curve["scores"][0]["splits"][0]
    assert (first["C"], first["n_fit"], first["n_validation"], first["validation"]) == (1.0, 10, 0, [])


def test_floors_come_on_request_and_shuffled_labels_teach_nothing(call):
    done = call("evaluate", "--recipe", "quick.yaml", "--floor", "shuffled_labels,raw_pixels", "--extract", "--json")
    assert done.exit_code == 0
    scores = {score["name"]: score for score in json.loads(done.stdout)["scores"]}
    assert list(scores) == ["pretrained", "shuffled labels", "raw pixels"]
    assert abs(scores["shuffled labels"]["mean"] - 0.1) < 0.06
    assert scores["raw pixels"]["mean"] > 0.5
    assert len(json.loads(done.stdout)["blocks"]) == 3
    with pytest.raises(DocumentError, match="unknown floor 'raw_pixel'. Did you mean 'raw_pixels'"):
        with_floors(load("digits_stack", Recipe), "raw_pixel")
    assert with_floors(load("digits_stack", Recipe), "raw_pixels") == load("digits_stack", Recipe)


KILLED = """
import os, signal, sys
from transferbench.cli import main
from transferbench.pipeline.pieces import StoredPieces
keep, kept = StoredPieces.put, []
def put(self, split, piece):
    keep(self, split, piece)
    kept.append(split)
    if len(kept) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
StoredPieces.put = put
main(sys.argv[1:])
"""


@pytest.mark.parametrize("solver", ["auto", "liblinear"])
def test_a_killed_evaluation_goes_on_with_the_split_it_was_at(call, monkeypatch, solver):
    recipe = call.folder / f"killed-{solver}.yaml"
    recipe.write_text(RECIPE.replace("MORE", ""))
    words = ["evaluate", "--recipe", str(recipe), "--solver", solver]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *words], env={**os.environ, "TB_HOME": str(call.folder / "home")}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    unfinished = call.folder / "home" / "results" / ".unfinished"
    assert len(list(unfinished.glob("*/*.npz"))) == 2
    from transferbench.evaluation import protocol

    fitted = []
    validate = protocol._validate
    monkeypatch.setattr(protocol, "_validate", lambda *given: fitted.append(given[1]) or validate(*given))
    assert call(*words).exit_code == 0
    assert fitted == [2]
    assert not unfinished.exists()
    (resumed,) = results(call, recipe.stem)
    # An evaluation that nobody interrupted gives the same bytes.
    again = call.folder / f"unbroken-{solver}.yaml"
    again.write_text(RECIPE.replace("MORE", ""))
    assert call("evaluate", "--recipe", again, "--solver", solver).exit_code == 0
    (unbroken,) = results(call, again.stem)
    if solver == "auto":  # LIBLINEAR draws from one stream for all threads, so no two of its runs are the same
        assert resumed["test_scores_sha256"] == unbroken["test_scores_sha256"]
        assert resumed["scores"] == unbroken["scores"]
    assert resumed["scores"][0]["mean"] == pytest.approx(unbroken["scores"][0]["mean"], abs=5e-3)


def test_a_damaged_piece_is_computed_again(call):
    from transferbench.evaluation.pieces import Piece
    from transferbench.pipeline.pieces import StoredPieces

    pieces = StoredPieces(call.folder / "pieces", 0)
    assert pieces.get(0) is None
    pieces.put(0, Piece(C=1.0, validation={0.1: 0.5, 1.0: 0.7}, machine={"scores": np.eye(3)}))
    back = pieces.get(0)
    assert (back.C, back.validation) == (1.0, {0.1: 0.5, 1.0: 0.7})
    assert (back.machine["scores"] == np.eye(3)).all()
    path = next((call.folder / "pieces").iterdir())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert pieces.get(0) is None


def test_a_state_is_kept_when_it_saves_much_more_than_it_costs(tmp_path, monkeypatch):
    from transferbench.evaluation.pieces import Begun, Piece
    from transferbench.pipeline import pieces

    now = [1000.0]
    monkeypatch.setattr(pieces.time, "monotonic", lambda: now[0])
    kept = pieces.StoredPieces(tmp_path / "kept", "official", worth=50)
    begun = Begun(validation={0.1: 0.5}, path={"coefficients": np.ones(25_000_000 // 8)})  # an eighth of a second
    now[0] += 6.2
    kept.put_begun(0, begun)
    assert kept.get_begun(0) is None
    now[0] += 6.3
    kept.put_begun(0, begun)
    assert kept.get_begun(0).validation == {0.1: 0.5}
    assert (kept.get_begun(0).path["coefficients"] == 1).all()
    kept.put(0, Piece(C=0.1, validation={0.1: 0.5}, machine={"scores": np.eye(2)}))
    assert kept.get_begun(0) is None
    assert kept.get(0).C == 0.1


def test_what_is_kept_belongs_to_one_way_to_the_bits_and_goes_with_the_result(tmp_path, monkeypatch):
    from transferbench.pipeline import pieces

    def folder(inputs="a" * 64, way="gram"):
        return pieces.folder_of(tmp_path, inputs, way)

    here = folder()
    others = [folder(way="rows"), folder("b" * 64)]
    monkeypatch.setenv("OMP_NUM_THREADS", "77")
    others.append(folder())
    monkeypatch.setattr(pieces, "describe", lambda: {"numpy": "0"})
    others.append(folder())
    assert len({here, *others}) == 5
    for one in (here, *others):
        one.mkdir(parents=True)
        (one / "line-0-split-0.npz").write_bytes(b"")
    old = tmp_path / ".unfinished" / f"{'c' * 32}-{'d' * 16}"
    old.mkdir()
    os.utime(old, (0, 0))
    pieces.forget(here)
    # Of the same inputs all goes, of others what nobody has touched for a month.
    assert [one.exists() for one in (here, *others, old)] == [False, False, True, False, False, False]


def test_test_scores_of_a_curve_are_kept_line_by_line(call):
    call("evaluate", "--recipe", "quick.yaml", "--recipe", "shots.yaml")
    (folder,) = (call.folder / "home" / "results" / "shots").iterdir()
    kept = load_test_scores(folder, json.loads((folder / "result.json").read_text())["test_scores_sha256"])
    assert [(one.variant, one.split) for one in kept] == [(v, f"{n} of 3") for v in range(3) for n in (1, 2, 3)]


@pytest.fixture
def elsewhere(call, tmp_path):
    """Make a work folder with the same descriptors and no results."""

    def made(name):
        folder = tmp_path / name
        folder.mkdir()
        for shared in ("features", "weights"):
            (folder / shared).symlink_to(call.folder / "home" / shared)
        return folder

    return made


def stored_scores(home):
    """What was stored of every experiment, but for dates and times."""
    found = [json.loads(path.read_text()) for path in home.glob("results/*/*/result.json")]
    kept = {one["recipe_name"]: (one["inputs_sha256"], one["test_scores_sha256"], one["scores"]) for one in found}
    assert len(kept) == len(found)
    return kept


SWEEP = ("sweep", "quick.yaml", "--set", "aggregate=stack,max", "--json")


def test_experiments_side_by_side_are_those_one_after_the_other(call, elsewhere):
    (call.folder / "lacking.yaml").write_text(RECIPE.replace("MORE", "").replace("seed: 3", "seed: 4"))
    one, two = elsewhere("one"), elsewhere("two")
    recipes = ["--recipe", "quick.yaml", "--recipe", "shots.yaml", "--recipe", "lacking.yaml", "--json"]
    for home, jobs in ((one, []), (two, ["--jobs", 2])):
        done = call("evaluate", *recipes, "--home", home, *jobs)
        assert done.exit_code == 1
        assert f"tb extract --recipe {call.folder / 'lacking.yaml'}" in done.stderr
        assert [line["name"].endswith("lacking.yaml") for line in json.loads(done.stdout)] == [False, False, True]
    assert len(stored_scores(one)) == 2
    assert stored_scores(two) == stored_scores(one)


@pytest.fixture(scope="module")
def cluster():
    """Two worker processes of a real cluster."""
    from distributed import LocalCluster

    options = {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1", "scheduler_port": 0}
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **options) as running:
        yield running


@pytest.fixture
def noted(tmp_path, monkeypatch):
    """Have workers note what they are given: process, line, split, and whether it was finished before."""
    from transferbench.pipeline import cluster

    path, fit = tmp_path / "noted", cluster.fit_share

    def fit_and_note(share):
        line = [os.getpid(), str(share.line.number), share.split, share.line.pieces().has(share.split)]
        told = fit(share)
        with path.open("a") as file:  # one short write: whole, whoever else writes
            file.write(json.dumps([*line, len(share.line.of.splits)]) + "\n")
        return told

    monkeypatch.setattr(cluster, "fit_share", fit_and_note)
    return lambda: [json.loads(line) for line in path.read_text().splitlines()]


def told(home, number=lambda value, **_: value):
    """What was stored of every experiment; `number` may be `pytest.approx`, for scores differ in their last bits."""
    return {
        name: (inputs, [
            (line["name"], line["train_per_class"], number(line["mean"], abs=5e-4), [
                (s["name"], s["C"], number([value for _, value in s["validation"]], abs=1e-3), s["n_test"])
                for s in line["splits"]
            ])
            for line in scores
        ])
        for name, (inputs, _, scores) in stored_scores(home).items()
    }  # fmt: skip


def test_splits_of_one_recipe_are_fitted_by_several_workers(call, elsewhere, cluster, noted):
    one, two = elsewhere("one"), elsewhere("two")
    words = ("evaluate", "--recipe", "shots.yaml", "--floor", "shuffled_labels", "--json")
    whole = call(*words, "--home", one)
    done = call(*words, "--home", two, "--scheduler", cluster.scheduler_address)
    assert (whole.exit_code, done.exit_code) == (0, 0)
    given = noted()
    # Two lines (the recipe's and the floor's) of three rounds, three splits each; none twice.
    assert sorted(line[1:] for line in given) == [[str(n), s, False, 3] for n in range(6) for s in range(3)]
    assert len({pid for pid, *_ in given}) == 2
    assert os.getpid() not in {pid for pid, *_ in given}
    assert told(one, pytest.approx) == told(two)
    assert json.loads(whole.stdout).keys() == json.loads(done.stdout).keys()
    assert not (two / "results" / ".unfinished").exists()
    (stored,) = two.glob("results/shots/*/result.json")
    assert [stage["name"] for stage in json.loads(stored.read_text())["stages"]] == [
        "fit shots on workers",
        "evaluate shots",
    ]


def test_experiments_on_the_workers_of_a_scheduler_are_those_of_this_process(call, elsewhere, cluster):
    one, two = elsewhere("one"), elsewhere("two")
    assert call(*SWEEP, "--home", one).exit_code == 0
    words = (*SWEEP, "--home", two, "--scheduler", cluster.scheduler_address)
    assert call(*words).exit_code == 0
    assert told(one, pytest.approx) == told(two)
    assert len(stored_scores(one)) == 2
    again = call(*words)
    assert again.exit_code == 0
    assert again.stderr.count("reused: result") == 2


def test_an_interrupted_command_finds_its_splits_again(call, elsewhere, cluster, noted, monkeypatch):
    from transferbench.pipeline import cluster as ours

    home, wait, waited = elsewhere("home"), ours._wait, []
    words = ("evaluate", "--recipe", "quick.yaml", "--home", home, "--scheduler", cluster.scheduler_address)

    def interrupt(*given):
        if len(waited) == 2:
            raise KeyboardInterrupt
        wait(*given)
        waited.append(given[1].split)

    with monkeypatch.context() as patch:
        patch.setattr(ours, "_wait", interrupt)
        assert call(*words).exit_code == 130
    first = len(noted())
    assert call(*words).exit_code == 0
    had = {split: before for _, _, split, before, _ in noted()[first:] if before or split in waited}
    assert [had[0], had[1]] == [True, True]


def test_what_a_worker_cannot_do_is_one_sentence(call, elsewhere, cluster):
    home = elsewhere("home")
    (home / "features").unlink()
    shutil.copytree(call.folder / "home" / "features", home / "features")
    shard = next(home.glob("features/digits/*/q0048*/*.h5"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    done = call("evaluate", "--recipe", "quick.yaml", "--home", home, "--scheduler", cluster.scheduler_address)
    assert done.exit_code == 1
    assert done.stderr.count("Error: the worker tcp://127.0.0.1:") == 1
    assert str(shard) in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_that_die_and_a_scheduler_that_goes_are_told(call, elsewhere, without_dask):
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker

    words = ("evaluate", "--recipe", "quick.yaml", "--home", elsewhere("home"), "--scheduler", "tcp://head:8786")
    for broken, told in (
        (KilledWorker("fit_share", None, 3), "died one after the other, perhaps for lack of memory"),
        (CancelledError("gone"), "the Dask scheduler is gone"),
        (OSError("closed"), "the Dask scheduler is gone"),
    ):
        without_dask(broken)
        done = call(*words)
        assert done.exit_code == 1
        assert "Error: pretrained, split 1 of 3: " in done.stderr
        assert told in done.stderr


def test_a_work_folder_that_is_not_shared_is_told_of(call, elsewhere, without_dask, monkeypatch):
    cluster = without_dask()
    monkeypatch.setattr(cluster, "_fit", lambda _: None)
    done = call("evaluate", "--recipe", "quick.yaml", "--home", elsewhere("home"), "--scheduler", "tcp://head:8786")
    assert done.exit_code == 1
    assert "All workers must see the work folder under the same path" in done.stderr


@pytest.mark.filterwarnings("default::sklearn.exceptions.ConvergenceWarning")
def test_what_a_worker_warns_of_reaches_the_user(call, elsewhere, without_dask, monkeypatch):
    cluster = without_dask()
    fit = cluster._fit

    def loud(share):
        warnings.warn(f"gap of split {share.split}", ConvergenceWarning, stacklevel=1)
        fit(share)

    monkeypatch.setattr(cluster, "_fit", loud)
    words = ("evaluate", "--recipe", "quick.yaml", "--home", elsewhere("home"), "--scheduler", "tcp://head:8786")
    done = call(*words)
    assert done.exit_code == 0
    assert [line for line in done.stderr.splitlines() if "gap of" in line] == [
        f"Warning: pretrained, split {n + 1} of 3: gap of split {n}" for n in range(3)
    ]


def test_a_worker_with_other_software_is_refused(monkeypatch):
    from transferbench.pipeline import cluster

    alike = cluster.software()
    assert {"transferbench", "numpy", "scipy", "scikit-learn", "numba", "commit"} == alike.keys()
    cluster._refuse_other_software(alike)
    for name in alike:
        with pytest.raises(TransferbenchError, match=f"it runs {name} {alike[name]} instead of 0: one result"):
            cluster._refuse_other_software(alike | {name: "0"})


def test_what_does_not_go_with_spreading_is_refused(call):
    for command in (("evaluate", "--recipe", "quick.yaml"), ("sweep", "quick.yaml", "--set", "l2=block")):
        for words, told in (
            (("--jobs", 2, "--scheduler", "tcp://127.0.0.1:9"), "give one of them"),
            (("--jobs", 2, "--extract"), "--extract and --jobs do not go together"),
            (("--scheduler", "tcp://127.0.0.1:9", "--extract"), "--extract and --scheduler do not go together"),
        ):
            done = call(*command, *words)
            assert done.exit_code == 2
            assert told in done.stderr


def test_processes_side_by_side_share_cores_and_memory(monkeypatch):
    from transferbench import environment
    from transferbench.evaluation.svm.choice import memory_of_machine

    monkeypatch.setattr(environment, "_processes", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    whole = memory_of_machine()
    environment.share_with(3)
    assert (environment.cores(), memory_of_machine()) == (2, whole // 3)
    environment.share_with(20)
    assert environment.cores() == 1


def test_a_scheduler_that_is_not_there_is_named(call, monkeypatch):
    monkeypatch.setattr("transferbench.pipeline.cluster._CONNECT_TIMEOUT_S", 1)
    done = call("evaluate", "--recipe", "quick.yaml", "--scheduler", "tcp://127.0.0.1:9")
    assert done.exit_code == 1
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in done.stderr
