"""Stored Gram matrices: found by everything that decides them, verified, and made again when they are damaged."""

import dataclasses
import errno
import os
import socket
import tracemalloc

import numpy as np
import pytest

from transferbench.evaluation.aggregate import AGGREGATORS, FeatureParts
from transferbench.evaluation.svm import gram, gram_file, gram_store
from transferbench.evaluation.svm.gram import gram_matrix
from transferbench.evaluation.svm.gram_file import stored_grams
from transferbench.evaluation.svm.gram_store import GramStore
from transferbench.files import temporary_beside


class Reader:
    """A source that counts how often it is read."""

    def __init__(self, source, key):
        self.readings = 0
        self._chunks = source.chunks
        self.source = dataclasses.replace(source, chunks=self.read, key=key)

    def read(self):
        self.readings += 1
        return self._chunks()


@pytest.fixture
def readers(nets, make_source):
    _, ids, arrays = nets
    return [Reader(make_source(array, ids), f"scale {number}") for number, array in enumerate(arrays[0])]


def features_of(readers, kind="stack", l2="block"):
    return FeatureParts([[reader.source for reader in readers]], AGGREGATORS[kind], l2)


def readings(readers):
    return [reader.readings for reader in readers]


def test_another_stack_of_the_same_blocks_reads_none_of_them(tmp_path, readers, nets):
    store = GramStore(tmp_path / "grams", worth=0)
    chosen = nets[1][10:200]
    gram_matrix(features_of(readers), chosen, 1.0, store)
    assert len(stored_grams(tmp_path / "grams")) == 3
    before = readings(readers)
    pair = features_of(readers[:2])
    np.testing.assert_allclose(
        gram_matrix(pair, chosen, 1.0, GramStore(tmp_path / "grams")), gram_matrix(pair, chosen, 1.0), rtol=1e-12
    )
    assert readings(readers) == [before[0] + 1, before[1] + 1, before[2]]


@pytest.mark.parametrize("change", ["ids", "order", "images", "norm", "aggregate", "key", "version", "type"])
def test_whatever_decides_a_matrix_makes_it_another_one(tmp_path, readers, nets, monkeypatch, change):
    folder = tmp_path / "grams"
    chosen = nets[1][10:200]
    gram_matrix(features_of(readers, "average"), chosen, 1.0, GramStore(folder, worth=0))
    features = features_of(readers, "average")
    if change == "ids":
        chosen = nets[1][11:201]
    elif change == "order":
        chosen = chosen[::-1]
    elif change == "images":  # the rows of the same blocks are those of others
        for reader in readers:
            reader.source = dataclasses.replace(reader.source, ids=reader.source.ids[::-1])
        features = features_of(readers, "average")
    elif change == "norm":
        features = features_of(readers, "average", "none")
    elif change == "aggregate":
        features = features_of(readers, "max")
    elif change == "key":
        readers[1].source = dataclasses.replace(readers[1].source, key="other weights")
        features = features_of(readers, "average")
    elif change == "version":
        monkeypatch.setattr(gram_store, "GRAM_VERSION", gram_store.GRAM_VERSION + 1)
    else:
        monkeypatch.setattr("transferbench.evaluation.svm.gram.FLOAT64_UP_TO", 0)
    found = gram_matrix(features, chosen, 1.0, GramStore(folder, worth=0))
    rows = features.read().rows(chosen).astype(np.float64)
    np.testing.assert_allclose(found, rows @ rows.T + 1, rtol=1e-5)
    assert len(stored_grams(folder)) == 2


@pytest.mark.parametrize("damage", ["a byte", "cut short", "longer", "no matrix", "manifest"])
def test_a_damaged_matrix_is_told_of_and_made_again(tmp_path, readers, nets, damage):
    folder, chosen = tmp_path / "grams", nets[1]
    expected = gram_matrix(features_of(readers), chosen, 1.0, GramStore(folder, worth=0))
    gram = stored_grams(folder)[1]
    data = bytearray(gram.matrix.read_bytes())
    data[777] ^= 1
    match damage:
        case "a byte":
            gram.matrix.write_bytes(data)
        case "cut short":
            gram.matrix.write_bytes(data[:-8])
        case "longer":
            gram.matrix.write_bytes(gram.matrix.read_bytes() + b"x")
        case "no matrix":
            gram.matrix.unlink()
        case "manifest":
            gram.manifest.write_text("{}")
    assert [stored.problem() is None for stored in stored_grams(folder)] == [True, False, True]
    with pytest.warns(RuntimeWarning, match="Gram matrix .* made again"):
        found = gram_matrix(features_of(readers), chosen, 1.0, GramStore(folder, worth=0))
    np.testing.assert_array_equal(found, expected)
    assert [stored.problem() for stored in stored_grams(folder)] == [None] * 3


@pytest.mark.parametrize("used", [False, True])
def test_the_longest_unused_makes_room(tmp_path, readers, nets, monkeypatch, used):
    folder, chosen = tmp_path / "grams", nets[1]
    store = GramStore(folder, worth=0)
    gram_matrix(features_of(readers[:2]), chosen, 1.0, store)
    first, second = stored_grams(folder)
    os.utime(first.manifest, (1, 1))
    os.utime(second.manifest, (2, 2))
    if used:
        parts = [features_of([reader]).parts[0] for reader in readers[:2]]
        half = np.zeros((len(chosen), len(chosen)), order="F")
        (part,) = (p for p in parts if gram_store._key(p, chosen, half.dtype) == first.manifest.stem)
        assert store.add_to(half, part, chosen)
        first, second = second, first
    limit = 2.5 * first.n_bytes
    usage = type("Usage", (), {"free": limit / 0.25 - 2 * first.n_bytes})
    monkeypatch.setattr(gram_store.shutil, "disk_usage", lambda _: usage)
    gram_matrix(features_of(readers[2:]), chosen, 1.0, store)
    kept = stored_grams(folder)
    assert len(kept) == 2
    assert second in kept
    assert first not in kept


def test_what_costs_little_or_has_no_key_is_not_kept(tmp_path, readers, nets):
    gram_matrix(features_of(readers), nets[1], 1.0, GramStore(tmp_path / "grams"))
    for reader in readers:
        reader.source = dataclasses.replace(reader.source, key="")
    gram_matrix(features_of(readers), nets[1], 1.0, GramStore(tmp_path / "grams", worth=0))
    assert stored_grams(tmp_path / "grams") == []


def test_keeping_a_matrix_takes_no_second_one(tmp_path, make_source, monkeypatch):
    n = 1200
    monkeypatch.setattr(gram, "_ROWS_AT_ONCE", 100)
    ids = tuple(f"{i:04d}" for i in range(n))
    arrays = [np.random.default_rng(k).random((n, 8), dtype=np.float32) for k in range(2)]
    readers = [Reader(make_source(a, ids), f"scale {k}") for k, a in enumerate(arrays)]
    rows = np.concatenate(arrays, axis=1).astype(np.float64)
    tracemalloc.start()
    found = gram_matrix(features_of(readers, l2="none"), ids, 0.0, GramStore(tmp_path / "grams", worth=0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(stored_grams(tmp_path / "grams")) == 2
    assert peak < 1.6 * found.nbytes
    np.testing.assert_allclose(found, rows @ rows.T, rtol=1e-12)
    again = gram_matrix(features_of(readers, l2="none"), ids, 0.0, GramStore(tmp_path / "grams", worth=0))
    np.testing.assert_array_equal(again, found)


def test_a_matrix_that_the_disk_does_not_take_is_told_of_and_not_kept(tmp_path, readers, nets, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(gram_file, "publish_file", full)
    expected = gram_matrix(features_of(readers), nets[1], 1.0)
    with pytest.warns(RuntimeWarning, match="not kept for other recipes: .*No space left"):
        found = gram_matrix(features_of(readers), nets[1], 1.0, GramStore(tmp_path / "grams", worth=0))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert list((tmp_path / "grams").iterdir()) == []


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path, readers, nets):
    left = tmp_path / "grams" / f".x.gram.tmp-{socket.gethostname()}-999999999-00000000"
    left.parent.mkdir()
    left.write_bytes(b"half a matrix")
    assert temporary_beside(left.parent / "x.gram").name.startswith(left.name.rsplit("-", 2)[0])
    gram_matrix(features_of(readers), nets[1], 1.0, GramStore(tmp_path / "grams", worth=0))
    assert not left.exists()


def test_a_matrix_whose_making_is_broken_off_leaves_nothing_behind(tmp_path, readers, nets):
    store = GramStore(tmp_path / "grams", worth=0)
    (part,) = features_of(readers[:1]).parts

    def broken_off():
        with store.keeping(part, nets[1], np.dtype(np.float64)) as keep:
            keep(np.ones((10, 240)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken_off()
    store.settle()
    assert list((tmp_path / "grams").iterdir()) == []
