"""Packs: what is in them, read by tar itself; what survives a stop, a flipped bit and other people's folders."""

import json
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from transferbench.data import Place, open_source
from transferbench.data.pack import writing
from transferbench.data.pack.layout import Pack, PackOptions, Shard
from transferbench.data.pack.reading import PackedDataset
from transferbench.data.pack.tar import padding
from transferbench.data.pack.writing import packed_image
from transferbench.errors import DatasetError, StorageError
from transferbench.home import Home
from transferbench.pipeline import pack as verb
from transferbench.pipeline.crops import pixels_of, training_crops
from transferbench.pipeline.datasets import DataOptions, training_source
from transferbench.progress import Silent
from transferbench.training.augment import AugmentOptions

OPTIONS = PackOptions(short_side=32, quality=95, interpolation="bicubic", shard_images=8)


@pytest.fixture
def made(ilsvrc, tmp_path):
    """Pack the small tree (28 images of 48 x 40 px), and return folder and document."""

    def run(out="pack", **changes):
        folder = tmp_path / out
        options = replace(OPTIONS, **changes)
        done = verb.pack(
            "ilsvrc2012", Home(tmp_path), DataOptions(ilsvrc.folder), options, out=folder, progress=Silent()
        )
        return folder, done

    return run


def opened(folder, **place):
    return open_source("ilsvrc2012", Place(folder=folder, **place))


def test_a_pack_gives_the_ids_labels_and_division_of_its_folder(made, ilsvrc):
    packed, folder = opened(made()[0]), opened(ilsvrc.folder)
    assert isinstance(packed, PackedDataset)
    assert packed.training_and_held_out() == folder.training_and_held_out()
    assert packed.labels.by_id == folder.labels.by_id
    assert packed.record == folder.record


def test_tar_itself_lists_and_extracts_the_images_and_their_classes(made, tmp_path):
    folder, _ = made()
    (tmp_path / "out").mkdir()
    for tar in sorted(folder.glob("*.tar")):
        subprocess.run(["tar", "-xf", str(tar), "-C", str(tmp_path / "out")], check=True)
    images = sorted(path for path in (tmp_path / "out").iterdir() if path.suffix != ".cls")
    assert len(images) == 28
    source = opened(folder)
    by_stem = {i.rsplit("/", 1)[1].split(".")[0]: k for i, k in source.labels.by_id.items()}
    for image in images:
        assert int(image.with_suffix(".cls").read_text()) == by_stem[image.stem.split("-", 1)[1]]
        with Image.open(image) as found:
            assert min(found.size) == 32


def test_members_are_named_as_webdataset_groups_them(made):
    folder, _ = made()
    with tarfile.open(folder / "training-000001.tar") as tar:
        names = tar.getnames()
    stems = [name.split(".")[0] for name in names]
    assert stems[::2] == stems[1::2]
    assert len(set(stems)) == 8
    assert [stem.split("-")[0] for stem in stems[::2]] == [f"{k:08d}" for k in range(8, 16)]
    assert {name.split(".", 1)[1] for name in names} <= {"jpg", "png", "cls"}


def test_classes_are_mixed_in_every_shard(made):
    folder, _ = made()
    assert all(len({m.class_number for m in Shard.read(p).members}) > 1 for p in folder.glob("training-*.json"))


def test_nothing_is_enlarged_and_small_images_stay_as_they_are_byte_for_byte(made, ilsvrc):
    folder, done = made(short_side=40)
    assert (done.pack.kept, done.pack.rescaled) == (28, 0)
    packed, source = opened(folder), opened(ilsvrc.folder)
    for image_id in source.ids:
        assert packed.encoded([image_id]).read(0) == source.file(image_id).read_bytes()


def test_rescaled_images_are_those_of_the_exact_way_but_for_the_jpeg(photographs):
    import io

    file = io.BytesIO()
    photographs[0].resize((500, 375)).save(file, "JPEG", quality=95)
    one = packed_image(file.getvalue(), "photo", replace(OPTIONS, short_side=256))
    from transferbench.data.images import rescale

    with Image.open(io.BytesIO(one.data)) as stored, Image.open(io.BytesIO(file.getvalue())) as original:
        exact = rescale(original.convert("RGB"), 256, "bicubic").astype(int)
        off = np.abs(np.asarray(stored) - exact)
    assert stored.size == (341, 256)
    assert not one.kept
    assert off.mean() < 2.5


def test_packing_twice_gives_the_same_bytes(made):
    (first, one), (second, two) = made("a"), made("b")
    assert one.pack.sha256 == two.pack.sha256
    for path in first.glob("*.*"):
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_a_stopped_pack_goes_on_and_ends_with_the_same_bytes(made, monkeypatch):
    whole, _ = made("whole")
    write, calls = writing.publish_file, []

    def stop(*paths):
        calls.append(paths)
        if len(calls) == 3:
            raise KeyboardInterrupt
        write(*paths)

    with monkeypatch.context() as patched:
        patched.setattr(writing, "publish_file", stop)
        with pytest.raises(KeyboardInterrupt):
            made("stopped")
    folder = whole.parent / "stopped"
    assert not (folder / "pack.json").exists()
    assert not list(folder.glob(".*.tmp-*"))
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.tar")}
    assert len(times) == 2
    made("stopped")
    assert {name: (folder / name).stat().st_mtime_ns for name in times} == times  # not written again
    assert all((folder / path.name).read_bytes() == path.read_bytes() for path in whole.glob("*.*"))


def test_other_options_write_other_shards_and_leave_none_of_the_old_ones(made):
    folder, old = made()
    _, new = made(shard_images=16, quality=80)
    assert new.pack.sha256 != old.pack.sha256
    assert sorted(path.name for path in folder.glob("*.tar")) == [
        "held_out-000000.tar",
        "training-000000.tar",
        "training-000001.tar",
    ]
    assert len(opened(folder).ids) == 28


@pytest.mark.parametrize("change", [{"quality": 80}, {"short_side": 30}, {"interpolation": "bilinear"}])
def test_every_option_of_the_pixels_writes_all_shards_anew(made, change):
    (_, old), (_, new) = made(), made(**change)
    assert all(a.sha256 != b.sha256 for a, b in zip(old.pack.shards, new.pack.shards, strict=True))
    assert made("beside", **change)[1].pack == new.pack


@pytest.mark.parametrize(("n_bytes", "zeros"), [(1, 511), (511, 1), (512, 0), (513, 511), (1024, 0)])
def test_files_in_a_tar_end_with_their_block(n_bytes, zeros):
    assert padding(n_bytes) == b"\0" * zeros


@pytest.mark.parametrize("at", [0, 3, -1])
def test_a_changed_byte_of_an_image_is_found_when_it_is_read_and_mended_by_packing_again(made, at):
    folder, done = made()
    member = Shard.read(folder / "training-000000.json").members[2]
    tar = folder / "training-000000.tar"
    data = bytearray(tar.read_bytes())
    data[member.offset + at % member.length] ^= 1
    tar.write_bytes(data)
    source = opened(folder)
    with pytest.raises(DatasetError, match="training-000000.tar .*has changed since it was packed"):
        source.image(member.id)
    source.image(Shard.read(folder / "training-000000.json").members[1].id)
    assert made()[1].pack == done.pack
    assert opened(folder).image(member.id).mode == "RGB"


def test_the_doctor_names_the_shard_that_has_changed(made, call):
    folder, _ = made()
    assert call("datasets", "check", "ilsvrc2012", "--data-dir", folder).code == 0
    (folder / "training-000001.tar").write_bytes(b"\0" * (folder / "training-000001.tar").stat().st_size)
    (folder / "held_out-000000.tar").unlink()
    found = call("datasets", "check", "ilsvrc2012", "--data-dir", folder)
    assert found.code == 1
    assert "training-000001.tar" in found.out
    assert "2 problem(s)" in found.err


def damage(folder, name, change):
    content = json.loads((folder / name).read_text())
    change(content)
    (folder / name).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("pack.json", lambda c: c.update(format="other"), "is not of the format"),
        ("pack.json", lambda c: c["shards"].pop(), "its hash is not the stated one"),
        ("pack.json", lambda c: c.pop("options"), "is damaged"),
        ("training-000000.json", lambda c: c["members"].pop(), "is not the shard that"),
        ("training-000000.json", lambda c: c["members"][0].__setitem__(2, 10**9), "an image lies outside the tar"),
        ("training-000000.json", lambda c: c["members"][0].pop(), "is damaged"),
    ],
)
def test_a_changed_document_is_refused(made, name, change, message):
    folder, _ = made()
    damage(folder, name, change)
    with pytest.raises(DatasetError, match=message):
        opened(folder)


@pytest.mark.parametrize("name", ["training-000001.tar", "training-000001.json"])
def test_a_missing_shard_is_named(made, name):
    folder, _ = made()
    (folder / name).unlink()
    with pytest.raises(DatasetError, match=name):
        opened(folder)


def test_a_pack_of_something_else_is_refused(made, record):
    folder, _ = made()
    record("ilsvrc2012", classes=["n01440764", "n02119789", "n02123045", "n99999999"])
    with pytest.raises(DatasetError, match="is a pack of other classes"):
        opened(folder)


def test_a_trial_takes_the_same_images_from_a_pack_as_from_its_folder(made, ilsvrc):
    packed, folder = opened(made()[0], limit=2), opened(ilsvrc.folder, limit=2)
    assert packed.training_and_held_out() == folder.training_and_held_out()
    assert packed.record == folder.record


def test_a_damaged_image_stops_the_packing_and_is_named(made, ilsvrc):
    victim = ilsvrc.folder / "train" / "n03000000" / "n03000000_4.JPEG"
    victim.write_bytes(victim.read_bytes()[:-40])
    with pytest.raises(DatasetError, match="n03000000_4.JPEG: is damaged") as told:
        made(short_side=40)
    assert str(told.value).endswith(f"All such files: tb datasets check ilsvrc2012 --data-dir {ilsvrc.folder} --deep")


def test_a_pack_that_does_not_fit_is_refused_before_it_is_begun(made, monkeypatch, tmp_path):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(StorageError, match="does not fit: 0.0 MB are free"):
        made()
    assert not list((tmp_path / "pack").glob("*.tar"))


def test_the_estimate_is_near(made, ilsvrc, tmp_path):
    folder, done = made()
    real = sum(path.stat().st_size for path in folder.glob("*.tar"))
    assert abs(done.expected_bytes / real - 1) < 0.1
    only = verb.pack(
        "ilsvrc2012",
        Home(tmp_path),
        DataOptions(ilsvrc.folder),
        OPTIONS,
        out=tmp_path / "none",
        only_estimate=True,
        progress=Silent(),
    )
    assert only.pack is None
    assert not (tmp_path / "none").exists()


def crops_of(source, **options):
    ids, _ = source.training_and_held_out()
    chosen = AugmentOptions(crop=28, short_sides=(32, 32), flip=True, colour_shift=0.1, seed=1)
    crops = training_crops(source, ids, chosen, "bicubic", exact=False, **options)
    return next(iter(crops.batches([np.arange(len(ids))], 0)))


def test_training_sees_the_same_crops_from_a_pack_up_to_the_second_jpeg(made, ilsvrc):
    packed, folder = crops_of(opened(made()[0])), crops_of(opened(ilsvrc.folder))
    assert (packed.labels == folder.labels).all()
    assert (packed.shifts == folder.shifts).all()
    assert (packed.crops.int() - folder.crops.int()).abs().float().mean() < 6
    kept = crops_of(opened(made("kept", short_side=40)[0]))
    assert (kept.crops == folder.crops).all()


def test_workers_may_share_the_open_files_of_a_pack(made):
    source = opened(made()[0])
    here = crops_of(source)
    assert (crops_of(source, workers=2).crops == here.crops).all()


def test_what_is_read_is_part_of_a_runs_provenance(made, ilsvrc):
    folder, done = made()
    told = pixels_of(opened(folder))
    assert told["sha256"] == done.pack.sha256
    assert (told["kind"], told["short_side"], told["quality"], told["rescaled"]) == ("pack", 32, 95, 28)
    assert pixels_of(opened(ilsvrc.folder)) is None
    assert pixels_of(opened(made("other", quality=80)[0]))["sha256"] != done.pack.sha256


def test_a_pack_stands_in_only_for_a_folder_that_is_not_there(ilsvrc, tmp_path, call):
    home = Home(tmp_path / "home")
    home.data.mkdir(parents=True)
    ilsvrc.folder.rename(home.data / "ilsvrc2012")
    for side in (32, 36):
        assert call("datasets", "pack", "ilsvrc2012", "--short-side", side).code == 0

    def chosen(short_side):
        return training_source("ilsvrc2012", home, DataOptions(), short_side=short_side, progress=Silent())

    assert pixels_of(chosen(32)) is None
    (home.data / "ilsvrc2012").rename(tmp_path / "away")
    assert pixels_of(chosen(30))["short_side"] == 32
    assert pixels_of(chosen(33))["short_side"] == 36
    with pytest.raises(DatasetError):
        chosen(40)  # would have to be enlarged


def test_a_pack_is_not_enlarged_for_a_training_but_original_files_in_it_may_be(made, tmp_path):
    def reading(folder, short_side):
        return training_source(
            "ilsvrc2012", Home(tmp_path), DataOptions(folder), short_side=short_side, progress=Silent()
        )

    small, kept = made()[0], made("kept", short_side=40)[0]
    assert reading(small, 32).ids
    with pytest.raises(DatasetError, match=r"rescaled to a short side of 32 px; at 33 px they would be enlarged"):
        reading(small, 33)
    assert reading(kept, 48).ids  # the same as from the folder


def test_a_run_on_a_pack_is_another_run_than_one_on_the_folder_and_says_so(made, ilsvrc, call):
    small = (
        "--recipe",
        "digits_a",
        "--dataset",
        "ilsvrc2012",
        "--width",
        1 / 32,
        "--epochs",
        1,
        "--workers",
        0,
        "--json",
    )
    runs = {}
    for what, folder in (("folder", ilsvrc.folder), ("pack", made(short_side=40)[0])):
        done = call("pretrain", *small, "--data-dir", folder)
        assert done.code == 0, done.err
        runs[what] = json.loads(done.out)["run"]
    assert runs["pack"] != runs["folder"]
    told = {what: json.loads(Path(run, "run.json").read_bytes())["pixels"] for what, run in runs.items()}
    assert told["folder"] is None
    assert (told["pack"]["kind"], told["pack"]["kept"]) == ("pack", 28)


def test_ones_own_folder_can_be_packed(tmp_path, photo, call):
    for k, name in enumerate(["cats", "dogs"]):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for n in range(8):
            (tmp_path / "pets" / name / f"my.photo.{n}.jpg").write_bytes(photo(10 * k + n))
    result = call("datasets", "pack", f"imagefolder:{tmp_path / 'pets'}", "--short-side", 32, "--json")
    assert result.code == 0, result.err
    (row,) = json.loads(result.out)
    packed, folder = open_source(f"imagefolder:{row['pack']}"), open_source(f"imagefolder:{tmp_path / 'pets'}")
    assert [sorted(part) for part in packed.training_and_held_out()] == [
        sorted(part) for part in folder.training_and_held_out()
    ]
    assert packed.labels.classes == ("cats", "dogs")
    assert row["rescaled"] == len(packed.ids)
    with tarfile.open(f"{row['pack']}/training-000000.tar") as tar:
        names = tar.getnames()
    assert {name.split(".", 1)[1] for name in names} == {"jpg", "cls"}  # dots of the originals' names part no sample
    assert len({name.split(".")[0] for name in names}) == len(names) // 2
    assert row["pack"].endswith("/imagefolder-pets-pack32")


@pytest.mark.parametrize(("name", "message"), [("digits", "comes with a package"), ("voc2007", "")])
def test_what_cannot_be_packed_is_explained(name, message, call):
    result = call("datasets", "pack", name)
    assert result.code == 1
    assert message in result.err


def test_a_pack_is_not_packed_again(made, call):
    folder, _ = made()
    result = call("datasets", "pack", "ilsvrc2012", "--data-dir", folder)
    assert result.code == 1
    assert "is a pack already" in result.err


def test_the_document_is_written_last_and_read_strictly(made):
    folder, done = made()
    assert Pack.read(folder) == done.pack
    (folder / "pack.json").unlink()
    with pytest.raises(DatasetError, match="neither a folder train nor"):
        opened(folder)
