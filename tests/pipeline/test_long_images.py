"""Very long images through the whole pipeline: in bands with the same descriptors, or refused by name."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from transferbench.errors import DeviceError
from transferbench.extraction import memory, ncnn_engine, torch_engine
from transferbench.home import Home
from transferbench.pipeline import probe
from transferbench.pipeline.engines import EngineOptions, open_engine
from transferbench.pipeline.extract import extract
from transferbench.pipeline.shards import refuse_too_large
from transferbench.pipeline.wanted import parts_of_options, parts_of_recipe
from transferbench.progress import Silent
from transferbench.types.scales import Scales


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Photographs and two strips, one lying and one standing."""
    place, random = tmp_path_factory.mktemp("long"), np.random.default_rng(0)
    sizes = [(60, 40), (40, 60), (500, 8), (50, 50), (48, 40), (8, 490), (60, 40), (44, 44)]
    for k, (width, height) in enumerate(sizes):
        path = place / "ab"[k % 2] / f"{k}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return place


def slim(folder, home, scale=32):
    """A slim net; at 32 px the strips have 2,000 x 32 px."""
    path = home.with_suffix(".yaml")
    path.write_text(f"""# Strips.
version: 1
dataset: "imagefolder:{folder}"
features:
  nets: [{{name: A, width: 0.0625, crop: 32, weights: {{kind: random, seed: 3}}}}]
  scales: [{scale}]
  flip: true
aggregate: {{kind: stack, l2: both}}
svm: {{loss: squared_hinge, C: [1.0], selection: validation}}
claims: null
""")
    return parts_of_recipe(str(path), Home(home))


@pytest.mark.parametrize("engine", ["torch", "ncnn"])
def test_a_strip_gets_the_descriptor_that_it_gets_as_a_whole(folder, tmp_path, monkeypatch, engine):
    found = {}
    for name, pixels in (("whole", 1 << 30), ("bands", 32 * 400)):
        monkeypatch.setitem(torch_engine.BAND_PIXELS, "cpu", pixels)
        monkeypatch.setattr(ncnn_engine, "BAND_PIXELS", pixels)
        dataset, parts = slim(folder, tmp_path / name)
        extract(parts, dataset, device="cpu", progress=Silent(), engine=EngineOptions(engine=engine))
        found[name] = parts[0].blocks[0].read().array
    largest = np.abs(found["whole"]).max()
    assert np.abs(found["bands"] - found["whole"]).max() <= 1e-6 * largest


def test_images_of_20_000_px_go_in_bands_by_themselves_and_are_what_the_net_gives_for_the_whole(tmp_path):
    """At their own size, with nothing set smaller than it is: JPEGs of 2.2 million pixels, lying and standing."""
    random, length, side = np.random.default_rng(1), 20_000, 110
    assert length * side > torch_engine.BAND_PIXELS["cpu"]
    for k, size in enumerate([(length, side), (side, length), *[(120, side), (side, side)] * 3]):
        path = tmp_path / "tree" / "ab"[k % 2] / f"{k}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = Image.fromarray(random.integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(path)
    dataset, parts = slim(tmp_path / "tree", tmp_path / "home", side)
    extract(parts, dataset, device="cpu", progress=Silent(), engine=EngineOptions(engine="torch"))
    found, net = parts[0].blocks[0].read(), parts[0].weights.load().build()
    mean = torch.tensor(parts[0].weights.header.preprocessing.mean).view(3, 1, 1)
    for image_id, row in zip(found.ids, found.array, strict=True):
        image = Image.open(dataset.file(image_id))
        with torch.inference_mode():
            rows = [
                net.describe(torch.from_numpy(np.array(one)).permute(2, 0, 1).float()[None] - mean)[0].numpy()
                for one in (image, ImageOps.mirror(image))
            ]
        expected = np.mean(rows, axis=0)
        assert np.abs(row - expected).max() <= 1e-5 * np.abs(expected).max(), image_id


def test_an_image_that_does_not_fit_is_refused_by_name_before_anything_is_computed(folder, tmp_path, monkeypatch):
    dataset, parts = parts_of_options(
        f"imagefolder:{folder}", "torchvision:resnet18", "random:0", Scales((224,)), flip=True, home=Home(tmp_path)
    )
    monkeypatch.setattr("transferbench.pipeline.extract.WORTH_AN_ESTIMATE", 1)
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**9)
    with pytest.raises(DeviceError) as told:
        extract(parts, dataset, device="cpu", progress=Silent())
    message = str(told.value)
    assert message.startswith("image 'a/2.png' of 500 x 8 px has 14000 x 224 px at scale 224, which take about 2.5 GB")
    assert "cpu has 1.0 GB free" in message
    assert (
        "Leave out that scale or take the image out of the dataset; a net of Table 1 would take it in bands." in message
    )
    assert not list(parts[0].blocks[0].folder.glob("rows-*"))


def test_what_a_net_takes_in_bands_is_refused_only_when_its_pixels_alone_do_not_fit(folder, tmp_path, monkeypatch):
    _, parts = slim(folder, tmp_path / "home")
    engine = open_engine(parts[0], "cpu", EngineOptions(engine="torch"))
    monkeypatch.setattr(memory, "free_bytes", lambda device: 10**10)
    refuse_too_large(engine, {"long": (20_000, 100)}, 768)  # 118 million pixels
    with pytest.raises(DeviceError, match="image 'longer' of 50000000 x 1 px"):
        refuse_too_large(engine, {"long": (20_000, 100), "longer": (50_000_000, 1)}, 768)
    refuse_too_large(engine, {}, 768)


def test_a_plan_counts_the_memory_of_a_band_not_of_the_whole_image(folder, tmp_path):
    """At once, a strip of 32,000,000 x 32 px would take 0.8 TB by the engine's own figure; its bytes take 16 GB."""
    _, parts = slim(folder, tmp_path / "home")
    engine = open_engine(parts[0], "cpu", EngineOptions(engine="torch"))
    sizes = {"strip": (60_000_000, 60), "small": (60, 40)}
    rescaled = 32_000_000 * 32
    found = probe._memory(engine, SimpleNamespace(part=parts[0], geometry=SimpleNamespace(sizes=sizes)))
    beside = found - rescaled * 16
    assert 0 < beside < 3e9  # one band, weights, decoded images that are kept
    engine.band_pixels = None
    assert probe._memory(engine, SimpleNamespace(part=parts[0], geometry=SimpleNamespace(sizes=sizes))) > rescaled * 700
