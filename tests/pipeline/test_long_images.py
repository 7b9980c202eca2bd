"""Very long images through the whole pipeline: in bands with the same descriptors, or refused by name."""

import numpy as np
import pytest
from PIL import Image

from transferbench.errors import DeviceError
from transferbench.extraction import memory, ncnn_engine, torch_engine
from transferbench.home import Home
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


def slim(folder, home):
    """A slim net at 32 px, where the strips have 2,000 x 32 px."""
    path = home.with_suffix(".yaml")
    path.write_text(f"""# Strips.
version: 1
dataset: "imagefolder:{folder}"
features:
  nets: [{{name: A, width: 0.0625, crop: 32, weights: {{kind: random, seed: 3}}}}]
  scales: [32]
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
