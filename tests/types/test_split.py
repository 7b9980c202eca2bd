from dataclasses import replace

from transferbench.types.split import Split


def test_a_split_knows_its_training_part_and_identity():
    split = Split(name="1 of 1", fit=("a", "d"), validation=("c",), test=("b",))
    assert split.train == ("a", "c", "d")
    assert split.sha256 != replace(split, test=("e",)).sha256
    assert split.sha256 != replace(split, fit=("a",), validation=("c", "d")).sha256
