"""Every command: output, exit code, and what a wrong call says."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from transferbench import __version__

LISTS = [
    ("nets", "list"),
    ("recipes", "list"),
    ("datasets", "list"),
    ("datasets", "show", "digits"),
    ("recipes", "show", "digits_stack"),
    ("recipes", "check"),
]


def test_the_installed_command_is_the_module(tb):
    script = Path(sys.executable).with_name("tb")
    installed = subprocess.run([script, "--version"], capture_output=True, text=True, check=True).stdout
    assert installed == tb.process("--version").out == f"tb, version {__version__}\n"


def test_nets_are_listed_with_exact_sizes(tb):
    lines = tb("nets", "list").out.splitlines()
    assert lines[2].split() == ["A", "11", "132,863,336", "7.61"]
    assert lines[7].split() == ["E", "19", "143,667,240", "19.63"]
    assert lines[-1].split() == ["B-5x5", "8", "134,503,528", "9.36"]
    assert tb("nets", "list", "--json").json()[4] == {
        "net": "D",
        "weight_layers": 16,
        "parameters": 138357544,
        "GMACs": 15.47,
    }


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_every_table_comes_as_json_too(tb, command):
    assert tb(*command).code == 0
    assert tb(*command, "--json").json()


def test_recipes_and_datasets_are_listed(tb):
    assert {row["recipe"] for row in tb("recipes", "list", "--json").json()} >= {
        "digits_stack",
        "digits_average",
        "digits_a",
    }
    assert [row["images"] for row in tb("datasets", "list", "--json").json() if row["dataset"] == "digits"] == [1797]


def test_showing_a_recipe_prints_the_file(tb):
    assert tb("recipes", "show", "digits_stack").out.startswith("# Handwritten digits")
    assert tb("recipes", "show", "digits_stack", "--json").json()["floors"][1] == {"kind": "raw_pixels", "side": 8}
    assert tb("recipes", "show", "digits_a", "--json").json()["epochs"] == 36


def test_three_mistakes_in_one_recipe_are_all_named_with_their_places(tb, quick_recipe):
    text = quick_recipe.read_text()
    quick_recipe.write_text(
        text.replace("dataset: digits", "dataset: digitz")
        .replace("flip: true", "flipp: true")
        .replace("[32, 48]", '[32, "48"]')
    )
    for command in (
        ("recipes", "check", quick_recipe),
        ("run", quick_recipe),
        ("evaluate", "--recipe", quick_recipe),
        ("extract", "--recipe", quick_recipe),
    ):
        done = tb(*command)
        assert done.code == 1
        assert f"Error: {quick_recipe}: 4 problems" in done.err
        assert "line 3: dataset: unknown dataset 'digitz'. Did you mean 'digits'?" in done.err
        assert "line 7: features.scales[1]: must be a whole number, got text '48'" in done.err
        assert "line 8: features.flipp: unknown key. Did you mean 'flip'?" in done.err
        assert "features.flip: this key is required" in done.err
    assert not tb.home.exists()


def test_a_folder_of_recipes_is_checked(tb, quick_recipe, tmp_path):
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    done = tb("recipes", "check", tmp_path)
    assert done.code == 1
    assert f"{quick_recipe}  ok" in done.out
    assert f"{tmp_path / 'bad.yaml'}: 5 problems" in done.err


@pytest.mark.parametrize("name", ["digits_stack", "digits_a"])
def test_a_shipped_recipe_is_checked_by_its_name(tb, name):
    assert tb("recipes", "check", name, "--json").json() == [{"recipe": name, "verdict": "ok"}]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("recipes", "check", "digit_stack"), "unknown recipe 'digit_stack'. Did you mean 'digits_stack'?"),
        (("recipes", "check", "none.yaml"), "none.yaml: there is no such file"),
        (("run", "digit_stack"), "unknown recipe 'digit_stack'. Did you mean 'digits_stack'?"),
        (("run", "none.yaml"), "none.yaml: there is no such file"),
        (("run", "./folder"), "folder: is a folder; name a YAML file in it"),
        (("evaluate", "--all", "caltech"), "Did you mean one of 'caltech101', 'caltech256'?"),
        (("sweep", "digits_stack", "--set", "aggregate=stak"), "must be one of 'stack', 'average', 'max', got 'stak'"),
        (("weights", "fetch", "vgg16"), "Did you mean one of 'vgg16-caffe', 'vgg16-keras'"),
        (("extract", "--dataset", "digits", "--net", "d", "--scales", "256"), "unknown net 'd'. Did you mean 'D'?"),
        (
            ("extract", "--dataset", "digits", "--scales", "256", "--weights", "a_file"),
            "a_file: is no weights file of ours.\n  Import it: tb weights import a_file",
        ),
        (("pretrain",), "which pretraining? Give --recipe NAME"),
        (("pretrain", "--recipe", "digits_b"), "unknown pretraining recipe 'digits_b'. Did you mean 'digits_a'?"),
        (("pretrain", "--recipe", "digits_a", "--net", "F"), "unknown net 'F'"),
        (("pretrain", "--recipe", "digits_a", "--device", "cuda:99"), "device cuda:99 is not there"),
        (("extract", "--dataset", "digit", "--scales", "256"), "unknown dataset 'digit'. Did you mean 'digits'?"),
        (("extract", "--dataset", "digits", "--net", "Q", "--scales", "256"), "unknown net 'Q'"),
        (("extract", "--dataset", "digits", "--scales", "256..768"), "there are no weights of net D in"),
        (
            ("extract", "--dataset", "digits", "--scales", "256", "--weights", "none.safetensors"),
            "there is no weights file at none.safetensors",
        ),
        (
            ("extract", "--dataset", "digits", "--scales", "256", "--weights", "random:x"),
            "the seed must be a whole number",
        ),
        (
            ("extract", "--recipe", "digits_stack"),
            "the pretraining digits_a has not been started.\n  Run: tb pretrain --recipe digits_a",
        ),
        (("evaluate", "--recipe", "digits_stack"), "Run: tb pretrain --recipe digits_a"),
        (("report",), "there are no results in"),
        (("datasets", "show", "digit"), "Did you mean 'digits'?"),
        (("recipes", "show", "digits_stak"), "Did you mean 'digits_stack'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_gets_one_clear_error(tb, command, message):
    (tb.cwd / "folder").mkdir()
    (tb.cwd / "a_file").write_text("")
    done = tb(*command)
    assert done.code == 1
    assert done.err.startswith("Error: ")
    assert message in done.err
    assert done.out == ""


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("rum",), "No such command 'rum'"),
        (("extract",), "give either --recipe, or --dataset and --scales"),
        (("extract", "--dataset", "digits"), "--dataset needs --scales"),
        (
            ("extract", "--dataset", "digits", "--scales", "256..700"),
            "256..700 is not a whole number of 128-pixel steps",
        ),
        (("run", "digits_stack", "--device", "gpu"), "'gpu' is not auto, cpu, cuda or cuda:N"),
        (("pretrain", "--epochs", "0"), "Invalid value for '--epochs'"),
        (("results", "list", "--since", "yesterday"), "'yesterday' does not match the format '%Y-%m-%d'"),
        (("evaluate",), "give --recipe, once or several times, or --all DATASET"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_usage_exits_with_two(tb, command, message):
    done = tb(*command)
    assert done.code == 2
    assert message in done.err


def test_missing_descriptors_are_listed_with_the_command_that_makes_them(tb, quick_recipe):
    done = tb("evaluate", "--recipe", quick_recipe)
    assert done.code == 1
    assert "2 block(s) of descriptors are missing" in done.err
    assert "net A at width 0.03125, crop 32, 48 px" in done.err
    assert f"Run: tb extract --recipe {quick_recipe}" in done.err
    command = f"tb evaluate --recipe {quick_recipe} --extract"
    assert command in done.err
    again = tb(*command.split()[1:])
    assert again.code == 0, again.err


def test_extraction_by_options_fills_the_same_cache_as_a_recipe(tb, quick_recipe):
    assert tb("extract", "--recipe", quick_recipe).code == 0
    done = tb(
        "extract", "--dataset", "digits", "--net", "A", "--weights", "random", "--scales", "224", "--no-flip", "--help"
    )
    assert done.code == 0
    listed = tb("extract", "--recipe", quick_recipe, "--json")
    assert [row["short_side"] for row in listed.json()] == [32, 48]
    assert "reused: descriptors of 797 images" in listed.err
    assert all(Path(row["block"]).is_dir() for row in listed.json())


def test_pretraining_prints_where_the_weights_are(tb):
    done = tb("pretrain", "--recipe", "digits_a", "--epochs", "1", "--seed", "4", "--json")
    assert done.code == 0
    assert Path(done.json()["weights"]).is_file()
    assert done.json()["reused"] is False
    weights = done.json()["weights"]
    extracted = tb("extract", "--dataset", "digits", "--net", "A", "--scales", "64", "--no-flip", "--json")
    assert extracted.code == 0, extracted.err
    named = tb(
        "extract", "--dataset", "digits", "--net", "A", "--weights", weights, "--scales", "64", "--no-flip", "--json"
    )
    (row,), (again,) = extracted.json(), named.json()
    assert [row[key] for key in ("features", "short_side", "images", "block")] == list(again.values())[:4]
    assert "reused: " in named.err
    # Where the time went: nowhere in what was there already.
    assert row["net"] > 0
    assert row["seconds"] == pytest.approx(row["net"] + row["waiting_for_images"] + row["waiting_for_disk"], abs=2e-3)
    assert {key: again[key] for key in list(row)[4:]} == dict.fromkeys(list(row)[4:], 0.0)
    assert "time by scale: " in extracted.err
    refused = tb("extract", "--dataset", "digits", "--net", "B", "--weights", weights, "--scales", "64")
    assert refused.code == 1
    assert "holds net A at width 0.125, crop 64; net B is asked for" in refused.err
    too_small = tb("extract", "--dataset", "digits", "--net", "A", "--weights", weights, "--scales", "32")
    assert "scale 32 is smaller than the crop" in too_small.err


def test_the_work_folder_can_be_named_by_an_option(tb, quick_recipe, tmp_path):
    assert tb("extract", "--recipe", quick_recipe, "--home", "elsewhere").code == 0
    assert (tmp_path / "elsewhere" / "features").is_dir()
    assert not tb.home.exists()


def test_a_work_folder_that_cannot_be_written_is_one_clear_error(tb, quick_recipe, tmp_path):
    (tmp_path / "file").write_text("")
    done = tb("extract", "--recipe", quick_recipe, "--home", tmp_path / "file" / "home")
    assert done.code == 1
    assert "cannot write: Not a directory" in done.err
    assert "set TB_HOME to another folder" in done.err


def test_a_closed_pipe_is_no_traceback(tb):
    process = tb.start("recipes", "show", "digits_stack")
    process.stdout.close()
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()
    process.wait()


@pytest.mark.parametrize(
    ("stdout", "code", "told"),
    [
        (">&-", 0, ""),
        pytest.param(
            "> /dev/full",
            1,
            "Error: the system says: No space left on device",
            marks=pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full"),
        ),
    ],
)
def test_a_stdout_that_takes_nothing_is_no_traceback(tb, stdout, code, told):
    command = f'exec "{sys.executable}" -m transferbench nets list {stdout}'
    # With a buffer, Python writes what is left in it when it ends.
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, cwd=tb.cwd, check=False, env=buffered)
    assert done.returncode == code
    assert done.stderr.startswith(told)
    assert "Traceback" not in done.stderr
