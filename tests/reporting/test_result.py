import json

import pytest

from transferbench.errors import ResultError, UnknownNameError
from transferbench.reporting.result import find_equal, find_result, list_results, load_result, newest, save_result


def test_a_round_trip_is_exact(tmp_path, result):
    folder = save_result(tmp_path, result)
    assert folder.relative_to(tmp_path).as_posix() == "demo_stack/20260102T030405Z-01234567"
    assert load_result(folder) == result


def test_the_newest_result_of_a_recipe_is_found(tmp_path, result):
    old = save_result(tmp_path, result)
    new = save_result(tmp_path, result.model_copy(update={"created": "2026-02-02T03:04:05+00:00"}))
    other = save_result(
        tmp_path, result.model_copy(update={"recipe_name": "other", "created": "2026-03-02T03:04:05+00:00"})
    )
    assert list_results(tmp_path) == [old, new, other]
    assert find_result(tmp_path, "demo_stack") == new
    assert find_result(tmp_path, None) == other
    assert find_result(tmp_path, str(old)) == old


def test_a_trial_stands_for_a_recipe_only_where_there_is_nothing_else(tmp_path, result):
    days = [f"2026-0{month}-02T03:04:05+00:00" for month in (1, 2, 3)]
    limits = (5, None, 3)
    trial, whole, last = (
        save_result(tmp_path, result.model_copy(update={"created": day, "limit": limit}))
        for day, limit in zip(days, limits, strict=True)
    )
    assert find_result(tmp_path, "demo_stack") == whole
    assert find_result(tmp_path, last.name) == last
    assert newest([trial, last]) == last
    (last / "result.json").write_text("{")
    assert newest([trial, whole, last]) == last  # a damaged one is told of, not passed over


def test_a_result_of_the_same_inputs_is_found(tmp_path, result):
    folder = save_result(tmp_path, result.model_copy(update={"test_scores_sha256": "e" * 64}))
    assert find_equal(tmp_path, "demo_stack", result.inputs_sha256) == folder
    assert find_equal(tmp_path, "demo_stack", "f" * 64) is None
    assert find_equal(tmp_path, "other", result.inputs_sha256) is None
    # Folder names hold only the first digits of the hash.
    assert find_equal(tmp_path, "demo_stack", result.inputs_sha256[:8] + "0" * 56) is None


def test_no_result_says_how_to_make_one(tmp_path):
    with pytest.raises(ResultError, match="tb run digits_stack"):
        find_result(tmp_path, None)


def test_an_unknown_result_gets_a_suggestion(tmp_path, result):
    save_result(tmp_path, result)
    with pytest.raises(UnknownNameError, match="Did you mean 'demo_stack'"):
        find_result(tmp_path, "demo_stak")


@pytest.mark.parametrize("text", ["", "{", '{"format": "transferbench.result"}'])
def test_a_damaged_result_is_named(tmp_path, result, text):
    folder = save_result(tmp_path, result)
    (folder / "result.json").write_text(text)
    with pytest.raises(ResultError, match=r"result\.json: is damaged"):
        load_result(folder)


def test_a_result_of_another_version_is_refused(tmp_path, result):
    folder = save_result(tmp_path, result)
    document = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**document, "version": 2}))
    with pytest.raises(ResultError, match="version"):
        load_result(folder)
