"""`tb cache`, on blocks that `tb extract` wrote."""

import h5py
import pytest


@pytest.fixture
def filled(tb, quick_recipe):
    assert tb("extract", "--recipe", quick_recipe).code == 0
    return tb


def test_blocks_are_listed_verified_compared_copied_and_deleted(filled, tmp_path):
    tb = filled
    listed = tb("cache", "list", "--json").json()
    assert [(row["state"], row["rows"], row["dimensions"]) for row in listed] == [("complete", 797, 128)] * 2
    assert [row["verdict"] for row in tb("cache", "verify", "--json").json()] == ["complete", "complete"]

    a, b = (row["block"] for row in listed)
    assert tb("cache", "diff", a, b, "--json").json() == [{"field": "short_side_px", "A": "32", "B": "48"}]

    assert tb("cache", "export", a, "a.h5").out == "a.h5\n"
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["descriptors"].shape == (797, 128)

    pruned = tb("cache", "prune", "--dataset", "digits")
    assert "nothing is deleted yet: 2 blocks would be" in pruned.err
    assert len(tb("cache", "list", "--json").json()) == 2
    assert "deleted 2 blocks" in tb("cache", "prune", "--dataset", "digits", "--yes").err
    assert tb("cache", "list", "--json").json() == []

    assert tb("cache", "import", "a.h5", "--json").json()["rows"] == 797
    assert [row["block"] for row in tb("cache", "list", "--json").json()] == [a]


def test_a_damaged_block_is_named_and_can_be_pruned_and_extracted_again(filled, quick_recipe):
    tb = filled
    shard = sorted(tb.home.rglob("rows-00002.h5"))[0]
    good = shard.read_bytes()
    shard.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    done = tb("cache", "verify")
    assert done.code == 1
    assert f"{shard}: is damaged" in done.err
    manifest = shard.parent / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"rows": 797', '"rows": 798'))
    assert [row["state"] for row in tb("cache", "list", "--json").json()].count("damaged") == 1
    assert "deleted 1 blocks" in tb("cache", "prune", "--yes").err
    assert tb("extract", "--recipe", quick_recipe).code == 0
    assert shard.read_bytes() == good


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("verify", "nothing"), "unknown block 'nothing'"),
        (("export", "nothing", "x.h5"), "unknown block 'nothing'"),
        (("import", "none.h5"), "none.h5: cannot be read"),
        (("diff", "aaaa", "bbbb"), "unknown block 'aaaa'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_gets_one_clear_error(tb, command, message):
    done = tb("cache", *command)
    assert done.code == 1
    assert message in done.err
