import pytest

from transferbench.errors import UnknownNameError
from transferbench.lookup import dataset_names, is_dataset, is_net, lookup, net_names, unknown


def test_a_builtin_is_found():
    assert lookup("colour", "red", {"red": 1}) == 1


def test_a_typo_gets_the_nearest_name_and_all_names():
    with pytest.raises(UnknownNameError, match="unknown colour 'rde'. Did you mean 'red'\\? Known: blue, red"):
        lookup("colour", "rde", {"red": 1, "blue": 2})


def test_nothing_near_gets_no_guess():
    assert unknown("colour", "xyz", ["red"]) == "unknown colour 'xyz'. Known: red"
    assert unknown("colour", "xyz", []) == "unknown colour 'xyz'. Known: none"


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A third-party package as pip would install it, without installing it."""
    (tmp_path / "demo_plugin.py").write_text("DATASET = 'a demo dataset'\n")
    info = tmp_path / "demo_plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: demo-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[transferbench.datasets]\ndemo = demo_plugin:DATASET\nred = demo_plugin:DATASET\n[transferbench.nets]\ndemonet = demo_plugin:DATASET\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("plugin")
def test_a_plugin_is_found_and_listed():
    assert lookup("dataset", "demo", {}, "transferbench.datasets") == "a demo dataset"
    assert {"demo", "digits"} <= set(dataset_names())
    assert net_names(["A"]) == ["A", "demonet"]
    assert all(is_dataset(name) for name in dataset_names())
    assert all(is_net(name, ["A"]) for name in ("A", "demonet", "timm:any"))


def test_what_neither_a_record_nor_a_plugin_has_is_no_dataset_and_no_net():
    assert not any(is_dataset(name) for name in ("demo", "", ".", "digits/..", "../datasets/digits"))
    assert not is_net("demonet", ["A"])


@pytest.mark.usefixtures("plugin")
def test_a_builtin_wins_over_a_plugin():
    assert lookup("dataset", "red", {"red": 1}, "transferbench.datasets") == 1


def test_another_case_and_the_beginning_of_a_name_are_guessed():
    assert "Did you mean 'D'?" in unknown("net", "d", ["A", "D"])
    said = unknown("recipe", "caltech101", ["caltech101_max", "caltech101_stack", "caltech256_max"])
    assert "Did you mean one of 'caltech101_max', 'caltech101_stack'?" in said


def test_of_many_names_the_command_that_lists_them_is_told():
    names = [f"recipe{n:02}" for n in range(40)]
    assert (
        unknown("recipe", "xyz", names, listed_by="tb recipes list") == "unknown recipe 'xyz'. All 40: tb recipes list"
    )
    assert "'recipe07'" in unknown("recipe", "recipo07", names, listed_by="tb recipes list")
