"""`tb weights` from a file, or a server on 127.0.0.1, to the weights that a recipe finds."""

import hashlib
import importlib
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from transferbench.cli import main
from transferbench.errors import WeightsError
from transferbench.home import Home
from transferbench.nets.header import read_header
from transferbench.nets.importers import CONVENTIONS, FORMATS
from transferbench.nets.importing import stamped
from transferbench.nets.known import KNOWN
from transferbench.nets.weights import load_weights, save_weights
from transferbench.pipeline.weights import choose, weights_choice
from transferbench.pipeline.weights_import import OWN_FORMAT
from transferbench.pipeline.weights_store import describe


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@contextmanager
def serving(folder):
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.fixture
def home(tmp_path):
    return Home.at(tmp_path / "home")


@pytest.fixture
def tb(home, monkeypatch):
    monkeypatch.setenv("TB_HOME", str(home.root))
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def run(*args):
        done = CliRunner().invoke(main, [*map(str, args)])
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return done

    return run


@pytest.fixture
def published(foreign, state, tmp_path, monkeypatch):
    """A slim net D in Caffe's layout on a server, known by its hash in the place of the authors' file."""
    folder = tmp_path / "server"
    folder.mkdir()
    path = foreign.WRITERS["caffe"](folder / "slim", state)
    data = path.read_bytes()
    with serving(folder) as address:
        slim = replace(
            KNOWN["vgg16-caffe"],
            file=path.name,
            urls=(f"{address}/gone.caffemodel", f"{address}/{path.name}"),
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
        )
        monkeypatch.setitem(KNOWN, "vgg16-caffe", slim)
        yield path


def test_the_choices_of_the_command_line_are_those_of_the_code():
    module = importlib.import_module("transferbench.cli.weights")  # the package has a command of that name
    assert set(module._FORMATS) == {*FORMATS, OWN_FORMAT}
    assert set(module._INPUTS) == set(CONVENTIONS)


def test_list_names_every_source_with_original_or_retrained(tb):
    rows = json.loads(tb("weights", "list", "--json").stdout)
    assert [(row["name"], row["net"], row["kind"]) for row in rows if row["net"] in "DE"] == [
        (f"vgg{n}-{source}", net, "original")
        for n, net in ((16, "D"), (19, "E"))
        for source in ("caffe", "keras", "matconvnet", "pytorch-bgr")
    ] + [("vgg16-torchvision", "D", "retrained"), ("vgg19-torchvision", "E", "retrained")]
    assert all(row["path"] is None for row in rows)
    assert tb("weights", "list").stdout.count("\n") == len(rows) + 2


def test_fetch_import_choose_show_and_verify(tb, home, published):
    done = tb("weights", "fetch", "vgg16-caffe")
    path = home.weights / "vgg16-caffe.safetensors"
    assert (done.exit_code, done.stdout) == (0, f"{path}\n")
    assert "the paper's net D" in done.stderr
    assert list((home.weights / "downloads").glob("[!.]*")) == []

    header = read_header(path)
    assert (header.label, header.class_order, header.origin["original"]) == ("the paper's net D", "wnid", True)
    assert header.origin["file_sha256"] == hashlib.sha256(published.read_bytes()).hexdigest()
    assert choose(weights_choice("default"), home, net="D").path == path
    assert choose(weights_choice("vgg16-caffe"), home, net="D").path == path

    shown = json.loads(tb("weights", "show", "vgg16-caffe", "--json").stdout)
    assert shown["origin"]["published"] == "vgg16-caffe"
    assert shown["preprocessing"]["channel_order"] == "RGB"
    assert "123.68, 116.779, 103.939" in tb("weights", "show", path).stdout
    assert json.loads(tb("weights", "list", "--json").stdout)[0]["path"] == str(path)
    verified = tb("weights", "verify")
    assert verified.exit_code == 0
    assert "vgg16-caffe  ok" in verified.stdout

    again = tb("weights", "fetch", "vgg16-caffe", "--json")
    assert again.stderr == f"reused: {path}\n"
    assert json.loads(again.stdout) == {"vgg16-caffe": str(path)}


def test_a_wrong_hash_leaves_nothing_under_the_final_name(tb, home, published, monkeypatch):
    monkeypatch.setitem(KNOWN, "vgg16-caffe", replace(KNOWN["vgg16-caffe"], sha256="0" * 64))
    done = tb("weights", "fetch", "vgg16-caffe")
    assert done.exit_code == 1
    assert "answers 404" in done.stderr
    assert "instead of 0000" in done.stderr
    assert [path.name for path in home.weights.rglob("*") if path.is_file() and not path.name.endswith(".lock")] == []


def test_a_published_file_of_another_net_is_refused(tb, home, published, monkeypatch):
    monkeypatch.setitem(KNOWN, "vgg16-caffe", replace(KNOWN["vgg16-caffe"], net="E"))
    done = tb("weights", "fetch", "vgg16-caffe")
    assert done.exit_code == 1
    assert "does not hold net E at width 0.0625, crop 64 but that of net D" in done.stderr
    assert list(home.weights.glob("*.safetensors")) == []


def test_offline_a_file_put_there_by_hand_is_used_and_kept(tb, home, published, monkeypatch):
    monkeypatch.setitem(KNOWN, "vgg16-caffe", replace(KNOWN["vgg16-caffe"], urls=("http://127.0.0.1:9/x",)))
    refused = tb("weights", "fetch", "vgg16-caffe")
    by_hand = home.weights / "downloads" / published.name
    assert refused.exit_code == 1
    assert f"put it at {by_hand}" in refused.stderr
    by_hand.write_bytes(published.read_bytes())
    assert tb("weights", "fetch", "vgg16-caffe").exit_code == 0
    assert by_hand.exists()


def test_a_recognised_file_gets_its_published_name_and_label(tb, home, published):
    done = tb("weights", "import", published, "--format", "caffe", "--json")
    assert json.loads(done.stdout) == {"vgg16-caffe": str(home.weights / "vgg16-caffe.safetensors")}
    assert read_header(home.weights / "vgg16-caffe.safetensors").label == "the paper's net D"


def test_an_unknown_copy_is_not_called_the_papers(tb, home, foreign, state, tmp_path):
    path = foreign.WRITERS["keras"](tmp_path / "somebody", state)
    assert tb("weights", "import", path, "--format", "keras").exit_code == 0
    header = read_header(home.weights / "somebody.safetensors")
    assert (header.label, header.origin["original"]) == ("of unknown origin, in keras layout", None)
    with pytest.raises(WeightsError, match="tb weights fetch vgg16-caffe"):
        choose(weights_choice("default"), home, net="D")
    assert choose(weights_choice("somebody"), home, net="D").header == header
    stolen = tb("weights", "import", path, "--format", "keras", "--name", "vgg16-keras")
    assert stolen.exit_code == 1
    assert "is not the published file vgg16-keras (553,467,096 bytes, md5 6437" in stolen.stderr


def test_default_prefers_the_originals_then_torchvisions(tb, home, foreign, state, tmp_path, published, monkeypatch):
    torchvision = foreign.write_torch(tmp_path / "tv.pth", state)
    tb("weights", "import", torchvision, "--format", "torchvision", "--name", "a-look-alike")
    with pytest.raises(WeightsError, match=r"there are no weights of net D .* taken without being named") as told:
        choose(weights_choice("default"), home, net="D")
    assert "a-look-alike is here, but not one of the published files. Take it by name: --weights" in str(told.value)
    with pytest.raises(WeightsError, match=r"there are no weights of net E in [^ ]+\.\n") as told:
        choose(weights_choice("default"), home, net="E")
    assert "a-look-alike" not in str(told.value)
    sha256 = hashlib.sha256(torchvision.read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(KNOWN, "vgg16-torchvision", replace(KNOWN["vgg16-torchvision"], sha256=sha256))
    tb("weights", "import", torchvision, "--format", "torchvision")
    assert choose(weights_choice("default"), home, net="D").path == home.weights / "vgg16-torchvision.safetensors"
    tb("weights", "fetch", "vgg16-caffe")
    assert choose(weights_choice("default"), home, net="D").path == home.weights / "vgg16-caffe.safetensors"


def test_a_recognised_torchvision_file_is_named_as_a_deviation(foreign, state):
    weights = foreign.weights_of(state)
    header = replace(weights.header, label=KNOWN["vgg16-torchvision"].label)
    assert describe(header).endswith(
        "retrained by torchvision, not the paper's, "
        + header.sha256[:8]
        + "; the paper's figures are no target for them"
    )


def test_files_of_this_program_are_imported_too(tb, home, foreign, state, tmp_path):
    run = tmp_path / "runs" / "mine"
    run.mkdir(parents=True)
    unfinished = tb("weights", "import", run, "--format", "run")
    assert (unfinished.exit_code, "is not finished" in unfinished.stderr) == (1, True)
    save_weights(run / "weights.safetensors", stamped(foreign.weights_of(state)))
    assert tb("weights", "import", run, "--format", "run").exit_code == 0
    assert load_weights(home.weights / "mine.safetensors").header == read_header(run / "weights.safetensors")
    wrong = tb("weights", "import", run, "--format", "run", "--net", "E", "--name", "other")
    assert (wrong.exit_code, "not net E" in wrong.stderr) == (1, True)


@pytest.mark.parametrize("name", ["../up", ".hidden", "a/b", ""])
def test_a_name_is_no_path(tb, home, foreign, state, tmp_path, name):
    path = foreign.WRITERS["keras"](tmp_path / "w", state)
    done = tb("weights", "import", path, "--format", "keras", "--name", name)
    if name:
        assert (done.exit_code, "cannot be a name of weights" in done.stderr) == (1, True)
    else:
        assert done.exit_code == 0  # no name at all


def test_a_taken_name_is_not_overwritten(tb, home, foreign, state, tmp_path):
    path = foreign.WRITERS["keras"](tmp_path / "w", state)
    other = foreign.WRITERS["keras"](tmp_path / "other", foreign.state_of(seed=2))
    assert tb("weights", "import", path, "--format", "keras").exit_code == 0
    assert tb("weights", "import", path, "--format", "keras").exit_code == 0
    refused = tb("weights", "import", other, "--format", "keras", "--name", "w")
    assert (refused.exit_code, "holds other weights" in refused.stderr) == (1, True)


def test_verify_finds_what_changed(tb, home, foreign, state):
    weights = stamped(foreign.weights_of(state))
    home.weights.mkdir(parents=True)
    save_weights(home.weights / "good.safetensors", weights)
    moved = replace(
        weights,
        header=replace(
            weights.header, preprocessing=replace(weights.header.preprocessing, mean=(103.939, 116.779, 123.68))
        ),
    )
    save_weights(home.weights / "moved.safetensors", moved)
    save_weights(home.weights / "bare.safetensors", replace(weights, header=replace(weights.header, fingerprint="")))
    done = tb("weights", "verify")
    assert done.exit_code == 1
    assert "good" in done.stdout
    assert "moved.safetensors: describes the test image as" in done.stderr
    assert "bare.safetensors: has no fingerprint" in done.stderr
    assert tb("weights", "verify", "good").exit_code == 0


def test_verify_compares_the_copies_of_one_original(tb, home, foreign, state):
    home.weights.mkdir(parents=True)
    for name, held in (("one", state), ("two", foreign.bgr(state))):
        weights = stamped(foreign.weights_of(held))
        save_weights(
            home.weights / f"{name}.safetensors",
            replace(weights, header=replace(weights.header, origin={"original": True})),
        )
    done = tb("weights", "verify")
    assert done.exit_code == 1
    assert "the copies of D's original weights differ: one | two" in done.stderr


def test_show_of_published_weights_that_are_not_here_says_where_they_are(tb):
    text = tb("weights", "show", "vgg19-keras").stdout
    assert "https://storage.googleapis.com/tensorflow/keras-applications/vgg19/" in text
    assert "md5 cbe5617147190e668d6c5d5026f83318" in text


def test_unknown_names_get_a_suggestion(tb, home):
    for command in ("fetch", "show", "verify"):
        done = tb("weights", command, "vgg16-cafe")
        assert (done.exit_code, "Did you mean 'vgg16-caffe'?" in done.stderr) == (1, True)
    missing = tb("weights", "import", "nothing.h5", "--format", "keras")
    assert (missing.exit_code, "nothing.h5: there is no such file" in missing.stderr) == (1, True)


def test_known_files_have_a_hash_and_an_address():
    assert len({known.file for known in KNOWN.values()}) == len(KNOWN)
    for name, known in KNOWN.items():
        assert known.sha256 or known.sha384 or known.md5, name
        assert all(url.endswith(known.file) for url in known.urls), name
        assert known.format in FORMATS
        # torch.hub's convention: the first digits of the sha256 stand in the name.
        if known.format in {"torchvision", "pytorch-bgr"}:
            assert known.file.endswith(f"-{known.sha256}.pth")


@pytest.mark.parametrize("net", ["vgg11", "vgg13", "vgg16", "vgg19"])
def test_torchvision_agrees_on_its_addresses(net):
    from torchvision.models import get_model_weights

    assert KNOWN[f"{net}-torchvision"].urls == (get_model_weights(net).IMAGENET1K_V1.url,)
