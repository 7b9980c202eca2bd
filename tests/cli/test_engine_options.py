"""`--engine` and `--precision` wherever descriptors are extracted: used, recorded, planned, never asked for in vain."""

import json

import pytest

SLIM = ("--limit", "4", "--device", "cpu")
TORCH = ("--engine", "torch", "--precision", "bfloat16")


@pytest.mark.parametrize(
    "command",
    [
        ("run", "quick.yaml"),
        ("evaluate", "--recipe", "quick.yaml", "--extract"),
        ("sweep", "quick.yaml", "--set", "aggregate=average", "--extract"),
    ],
    ids=lambda command: command[0],
)
def test_what_was_asked_for_computes_and_is_recorded(tb, quick_recipe, command):
    done = tb(*command, *SLIM, *TORCH)
    assert done.code == 0, done.err
    assert "by torch in bfloat16" in done.err
    manifests = [json.loads(path.read_text()) for path in tb.home.glob("features/**/manifest.json")]
    assert len(manifests) == 2
    for told in manifests:
        assert {key: told["environment"][key] for key in ("engine", "precision", "device")} == {
            "engine": "torch",
            "precision": "bfloat16",
            "device": "cpu",
        }
    (result,) = (json.loads(path.read_text()) for path in tb.home.glob("results/*/*/result.json"))
    assert {block["engine"] for block in result["blocks"]} == {"torch bfloat16"}


def test_a_plan_is_made_with_the_engine_that_would_be_used(tb, quick_recipe):
    planned = tb("plan", quick_recipe, *SLIM, *TORCH, "--json").json()
    assert all("on cpu, by torch in bfloat16" in probe for probe in planned[0]["extraction"]["probes"])
    assert planned[0]["extraction"]["probes"]


@pytest.mark.parametrize("options", [("--engine", "torch"), ("--precision", "float32"), ("--compile",)])
@pytest.mark.parametrize("command", [("evaluate", "--recipe"), ("sweep", "--set", "aggregate=max")])
def test_an_engine_for_which_there_is_nothing_to_do_is_wrong_usage(tb, quick_recipe, command, options):
    done = tb(*command, quick_recipe, *options)
    assert done.code == 2
    assert "--engine, --precision and --compile say how descriptors are extracted; add --extract" in done.err


@pytest.mark.parametrize("command", [("run",), ("evaluate", "--extract", "--recipe")], ids=lambda command: command[0])
def test_an_engine_that_cannot_do_it_is_refused_before_anything_is_computed(tb, quick_recipe, command):
    done = tb(*command, quick_recipe, *SLIM, "--engine", "ncnn", "--precision", "float16")
    assert done.code == 1
    assert "the engine ncnn computes in float32 alone" in done.err
    assert not list(tb.home.glob("features/**/rows-*.h5"))


def test_contradictions_end_a_run_before_its_pretraining(tb):
    done = tb("run", "digits_stack", *SLIM, "--engine", "ncnn", "--compile")
    assert done.code == 1
    assert "the engine ncnn is not compiled by torch" in done.err
    assert not (tb.home / "runs").exists()
