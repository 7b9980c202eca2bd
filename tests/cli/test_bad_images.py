"""`--on-bad-image`, on a folder with damaged files."""

import io
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from transferbench.cache.store import stored_blocks

N_CLASSES, N_EACH = 2, 150
CUT, EMPTY = "cats/cats-003.jpg", "dogs/dogs-149.jpg"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """300 small images of two classes, two of them damaged: one in each shard of 256 rows."""
    folder = tmp_path_factory.mktemp("photographs")
    random = np.random.default_rng(0)
    for number, name in enumerate(("cats", "dogs")):
        (folder / name).mkdir()
        for k in range(N_EACH):
            pixels = random.integers(0, 120, (40, 40 + k % 3, 3)) + 120 * number
            file = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG")
            (folder / name / f"{name}-{k:03d}.jpg").write_bytes(file.getvalue())
    (folder / CUT).write_bytes((folder / CUT).read_bytes()[:-300])
    (folder / EMPTY).write_bytes(b"")
    return folder


@pytest.fixture
def recipe(photographs, tmp_path):
    """A slim random net at two scales."""
    path = tmp_path / "pets.yaml"
    path.write_text(
        f"""# Own images.
version: 1
dataset: "imagefolder:{photographs}"
features:
  nets: [{{name: A, width: 0.03125, crop: 32, weights: {{kind: random, seed: 3}}}}]
  scales: [32, 40]
  flip: true
aggregate: {{kind: stack, l2: both}}
svm: {{loss: squared_hinge, C: [1.0], selection: validation}}
claims: null
"""
    )
    return path


def files(home):
    return {p.relative_to(home): p.read_bytes() for p in home.rglob("*") if p.name.startswith("rows-")}


def test_a_bad_image_stops_the_work_by_name_with_the_remedy(tb, recipe, photographs):
    done = tb("extract", "--recipe", recipe)
    assert done.code == 1
    assert f"image '{CUT}' cannot be decoded: {photographs / CUT}: is damaged: " in done.err
    assert "go on without it: --on-bad-image skip" in done.err
    assert files(tb.home) == {}


def test_skipped_images_are_in_the_block_the_result_and_the_report(tb, recipe, photographs):
    done = tb("run", recipe, "--on-bad-image", "skip")
    assert done.code == 0, done.err
    assert f"skipped: {EMPTY}: is empty (zero bytes)" in done.err
    # The same bytes on every machine: no path of this one.
    assert not any(str(photographs).encode() in data for data in files(tb.home).values())
    for block in stored_blocks(tb.home / "features"):
        assert (block.rows, block.skipped) == (298, 2)
    assert tb("cache", "verify").code == 0
    result = json.loads(next(tb.home.glob("results/**/result.json")).read_text())
    assert [one["id"] for one in result["skipped"]] == [CUT, EMPTY]
    assert result["skipped"][1]["reason"] == "is empty (zero bytes)"
    for one in result["skipped"]:
        assert len(one["training_in"]) + len(one["test_in"]) == 3
    for split in result["scores"][0]["splits"]:
        assert split["n_fit"] + split["n_validation"] + split["n_test"] == 298
    assert f"LEFT OUT because they could not be decoded (--on-bad-image skip): {CUT} (is damaged" in done.out
    page = next(tb.home.glob("results/**/report.html")).read_text()
    assert "LEFT OUT" in page
    assert EMPTY in page


def test_a_resumed_run_and_several_processes_agree(tb, recipe, tmp_path):
    command = ("extract", "--recipe", recipe, "--device", "cpu", "--on-bad-image", "skip")
    assert tb(*command).code == 0
    whole = files(tb.home)
    assert len(whole) == 4
    shutil.rmtree(tb.home / "features")
    workers = [tb.start(*command) for _ in range(2)]
    for worker in workers:
        _, err = worker.communicate(timeout=300)
        assert worker.returncode == 0, err
    assert files(tb.home) == whole
    for path in [*tb.home.rglob("manifest.json"), next(tb.home.rglob("rows-00001.h5"))]:
        path.unlink()
    refused = tb(*command[:-2])
    assert refused.code == 1
    assert "2 image(s) could not be decoded and were skipped by an earlier run:" in refused.err
    assert f"    {EMPTY}: is empty (zero bytes)" in refused.err
    assert tb(*command).code == 0
    assert files(tb.home) == whole
    again = tb(*command)
    assert f"at 32, 40 px, without 2 skipped images, first {CUT}" in again.err
    assert tb(*command[:-2]).code == 1  # complete blocks that lack images are no silent replacement for whole ones


def test_files_that_cannot_be_read_are_never_skipped(tb, recipe, photographs, monkeypatch):
    from PIL import JpegImagePlugin

    def broken(self):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", broken)
    done = tb("extract", "--recipe", recipe, "--on-bad-image", "skip")
    assert done.code == 1
    assert "cannot be read: Input/output error" in done.err
    assert files(tb.home) == {}
