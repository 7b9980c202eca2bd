import csv
import os
import signal
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.blobs import Blobs, Net, execution, options, same
from transferbench.errors import TrainingError
from transferbench.pretraining import Plateau
from transferbench.progress import Silent
from transferbench.training.checkpoint import newest_checkpoint, save_checkpoint
from transferbench.training.loop import train
from transferbench.training.measure import better_classes, held_out_accuracy
from transferbench.training.processes import Processes
from transferbench.training.randomness import random_state, restore_random
from transferbench.training.watch import Nobody


class Stopping(Silent):
    """Does something at a step: interrupts, as a broken progress bar would, or sends a signal."""

    def __init__(self, at_step, what=None):
        self.left, self.said, self.what = at_step, [], what
        self.notes = []

    def say(self, line):
        self.said.append(line)

    @contextmanager
    def task(self, description, total, *, done=0):
        outer = self

        class Task:
            def advance(self, n=1, note=""):
                outer.left -= n
                outer.notes.append(note)
                if outer.left == 0:
                    if outer.what is None:
                        raise InterruptedError
                    os.kill(os.getpid(), outer.what)

        yield Task()


def run(folder, progress=None, net=None, *, data=None, **values):
    carried = {k: values.pop(k) for k in ("save_every_steps", "images_at_once", "save_every_s") if k in values}
    net = net or Net()
    history, result = train(
        net,
        data or Blobs(44, 1),
        Blobs(20, 2),
        options(**values),
        execution(folder, **carried),
        progress=progress or Silent(),
    )
    return result, history


def test_it_learns(tmp_path):
    _, history = run(tmp_path)
    assert [line.epoch for line in history] == [1, 2, 3, 4]
    assert history[-1].accuracy == history[-1].top5 == 1.0
    assert history[-1].loss < history[0].loss
    assert [line.learning_rate for line in history] == pytest.approx([0.05, 0.05, 0.05, 0.005])


@pytest.mark.parametrize("image_draws", [True, False])
@pytest.mark.parametrize("every", [None, 1, 4])
@pytest.mark.parametrize("step", [1, 6, 7, 13, 23])
def test_a_run_that_broke_off_ends_with_the_same_bits(tmp_path, step, every, image_draws):
    whole, history = run(tmp_path / "whole", image_draws=image_draws)
    with pytest.raises(InterruptedError):
        run(tmp_path / "parts", progress=Stopping(step), save_every_steps=every, image_draws=image_draws)
    torch.manual_seed(123)
    progress = Stopping(-1)
    resumed, history_of_parts = run(
        tmp_path / "parts", progress=progress, save_every_steps=every, image_draws=image_draws
    )
    assert history_of_parts == history
    assert same(whole, resumed)
    if (step, every) == (23, 1):  # it breaks off while step 23 is read, so 22 of them are saved
        assert progress.said[0].startswith("resuming after step 4 of epoch 4 from ")


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_lets_the_step_finish_and_saves(tmp_path, number, expected):
    def terminate(_number, _frame):
        raise SystemExit(143)

    whole, history = run(tmp_path / "whole")
    before = signal.signal(signal.SIGTERM, terminate)
    before_int = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where tests run in the background
    try:
        with pytest.raises(expected):
            run(tmp_path / "parts", progress=Stopping(8, number))
        assert signal.getsignal(signal.SIGTERM) is terminate  # ours are gone again
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, before_int)
    # Noticed at step 8, while step 9 was under way already; steps 7 to 12 are the second epoch.
    state = newest_checkpoint(tmp_path / "parts", Silent())
    assert (state["position"]["epoch"], state["position"]["step"]) in {(1, 4), (1, 5)}
    resumed, again = run(tmp_path / "parts")
    assert again == history
    assert same(whole, resumed)


def test_a_signal_that_is_ignored_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, history = run(tmp_path, progress=Stopping(8, signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(history) == 4


def test_a_finished_run_is_not_trained_further(tmp_path):
    first, _ = run(tmp_path)
    again, _ = run(tmp_path, progress=Stopping(1))
    assert same(first, again)


def test_every_process_and_seed_has_a_stream_of_random_numbers_of_its_own(tmp_path, monkeypatch):
    def enough(*_):
        raise InterruptedError

    monkeypatch.setattr("transferbench.training.loop.Descent", enough)
    drawn = set()
    for seed in (0, 1):
        for rank in range(3):
            given = Net(), Blobs(8, 1), Blobs(8, 2), options(seed=seed), execution(tmp_path)
            with pytest.raises(InterruptedError):
                train(*given, progress=Silent(), processes=Processes(rank, 3))
            drawn.add(tuple(torch.rand(4).tolist()))
    assert len(drawn) == 6


def test_every_process_goes_back_to_its_own_stream_unless_their_number_has_changed():
    states, expected = [], []
    for seed in (1, 2):
        torch.manual_seed(seed)
        states.append(random_state("cpu"))
        expected.append(torch.rand(4))
    for rank in (0, 1):
        restore_random(states, Processes(rank, 2), Silent())
        assert torch.equal(torch.rand(4), expected[rank])
    torch.manual_seed(3)
    before, progress = torch.get_rng_state(), Stopping(-1)
    restore_random(states, Processes(1, 3), progress)
    assert progress.said == ["the checkpoint was made by 2 process(es), now there are 3"]
    assert torch.equal(torch.get_rng_state(), before)


def test_metrics_are_a_plain_table(tmp_path):
    _, history = run(tmp_path)
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == [line.accuracy for line in history]


def test_the_newest_two_and_the_best_checkpoint_stay(tmp_path):
    _, history = run(tmp_path)
    names = [path.name for path in sorted(tmp_path.glob("*.pt"))]
    assert names == ["checkpoint-000000018.pt", "checkpoint-000000024.pt", "checkpoint-best.pt"]
    best = torch.load(_payload(tmp_path / "checkpoint-best.pt"), weights_only=True)
    accuracies = [line.accuracy for line in history]
    assert best["position"]["epoch"] == accuracies.index(max(accuracies)) + 1


def _payload(path):
    import io

    return io.BytesIO(path.read_bytes()[len(b"transferbench checkpoint 2\n") + 32 :])


def test_a_damaged_checkpoint_is_passed_over_and_said(tmp_path):
    whole, _ = run(tmp_path / "whole")
    run(tmp_path / "parts")
    newest = tmp_path / "parts" / "checkpoint-000000024.pt"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    progress = Stopping(-1)
    resumed, _ = run(tmp_path / "parts", progress=progress)
    assert progress.said[0] == f"{newest} is damaged; going back to the checkpoint before it"
    assert "resuming after epoch 3" in progress.said[1]
    assert same(whole, resumed)


def test_nothing_but_damaged_checkpoints_is_an_error(tmp_path):
    run(tmp_path)
    for path in tmp_path.glob("*.pt"):
        data = path.read_bytes()
        path.unlink()  # the best one may be the same file
        path.write_bytes(data[:-10])
    with pytest.raises(TrainingError, match=r"every checkpoint in .* is damaged. Delete that folder"):
        run(tmp_path)


def test_a_checkpoint_runs_no_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    save_checkpoint(tmp_path, 1, {"net": Evil()})
    with pytest.raises(TrainingError):
        newest_checkpoint(tmp_path, Silent())
    assert not (tmp_path / "made").exists()


def test_a_loss_that_is_not_finite_stops_with_step_and_last_good_state(tmp_path):
    class Breaking(Net):
        def forward(self, crops, shifts=None, draws=None):
            scores = super().forward(crops, shifts, draws)
            if self.training:
                self.seen = getattr(self, "seen", 0) + 1
                return scores * (float("nan") if self.seen == 10 else 1.0)
            return scores

    with pytest.raises(
        TrainingError,
        match=r"loss became nan in epoch 2, step 4 of 6, at learning rate 0.05"
        rf"[\s\S]*state after step 8 of the run is kept in {tmp_path}[\s\S]*Lower learning_rate",
    ):
        run(tmp_path, net=Breaking(), save_every_steps=4)
    assert all(t.isfinite().all() for t in newest_checkpoint(tmp_path, Silent())["net"].values())


def test_a_compiler_that_is_not_there_is_told_in_a_sentence(tmp_path, monkeypatch):
    inductor = pytest.importorskip("torch._inductor.exc")

    class Uncompiled(Net):
        def forward(self, *_):
            raise inductor.InvalidCxxCompiler

    with pytest.raises(TrainingError, match=r"could not compile the net: No working C[\s\S]*Or leave out\n  --compile"):
        run(tmp_path, net=Uncompiled())


def test_too_little_memory_in_the_middle_of_a_run_is_told_with_a_way_out(tmp_path):
    class Large(Net):
        def forward(self, *given):
            if self.training:
                raise torch.OutOfMemoryError
            return super().forward(*given)

    with pytest.raises(TrainingError, match=r"8 crops at once do not fit into the memory of cpu[\s\S]*at-once 4"):
        run(tmp_path, net=Large())


def test_a_loss_that_grows_beyond_all_bounds_stops_too(tmp_path):
    with pytest.raises(TrainingError, match=r"loss became (nan|inf) in epoch 1, step \d of 6, at learning rate 1e\+30"):
        run(tmp_path, learning_rate=1e30)


def test_every_image_is_visited_once_an_epoch_and_once_to_be_measured(tmp_path):
    data = Blobs(44, 1)
    run(tmp_path, data=data)
    assert sorted(data.visits) == [(epoch, row) for epoch in range(4) for row in range(44)]
    assert data.visits[:44] != sorted(data.visits[:44])


def test_the_order_is_the_same_however_the_batch_is_cut(tmp_path):
    cut, whole = Blobs(44, 1), Blobs(44, 1)
    one, _ = run(tmp_path / "1", data=cut, images_at_once=3)
    other, _ = run(tmp_path / "2", data=whole)
    assert cut.visits == whole.visits
    for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_every_visit_to_an_image_has_a_draw_of_its_own_in_every_epoch_and_with_every_seed(tmp_path):
    seen = []

    class Noting(Net):
        def forward(self, crops, shifts=None, draws=None):
            if self.training:
                seen.extend(draws.tolist())
            return super().forward(crops, shifts, draws)

    for seed in (0, 1):
        run(tmp_path / str(seed), net=Noting(), epochs=3, seed=seed)
    assert len(seen) == len(set(seen)) == 2 * 3 * 44


def test_the_words_beside_the_bar(tmp_path):
    progress = Stopping(-1)
    run(tmp_path, progress=progress)
    assert progress.notes[0].startswith("loss 0.")
    assert "rate 0.05" in progress.notes[0]
    assert "images/s" in progress.notes[-1]
    assert "top-1 100.0%, top-5 100.0%" in progress.notes[-1]


def test_every_epoch_ends_with_a_row_of_its_steps_however_few_they_are(tmp_path):
    class Rows(Nobody):
        def __init__(self):
            self.lines = []

        def step(self, line):
            self.lines.append(line)

    rows = Rows()
    history, _ = train(Net(), Blobs(44, 1), Blobs(20, 2), options(), execution(tmp_path), progress=Silent(), watch=rows)
    assert [(line.step, line.epoch) for line in rows.lines] == [(6, 1.0), (12, 2.0), (18, 3.0), (24, 4.0)]
    assert [line.loss for line in rows.lines] == pytest.approx([line.loss for line in history])
    assert [line.learning_rate for line in rows.lines] == [line.learning_rate for line in history]


def test_a_moving_average_is_kept_and_measured_in_place_of_the_weights(tmp_path):
    net = Net()
    averaged, _ = run(tmp_path / "whole", net=net, ema=0.9)
    assert not same(averaged, net)
    with pytest.raises(InterruptedError):
        run(tmp_path / "parts", ema=0.9, progress=Stopping(15), save_every_steps=2)
    resumed, _ = run(tmp_path / "parts", ema=0.9)
    assert same(resumed, averaged)


def test_after_every_epoch_it_is_the_moving_average_that_is_measured(tmp_path, monkeypatch):
    """By hand: w, then 0.9 average + 0.1 w after every step, of a layer that is followed from step to step."""
    net, followed, measured = Net(), [], []
    update = torch.optim.SGD.step

    def noted(optimiser, *given, **named):
        update(optimiser, *given, **named)
        followed.append(net.last.weight.detach().clone())

    def measure(given, *_, **__):
        measured.append(given.last.weight.detach().clone())
        return 0.5, 1.0

    monkeypatch.setattr(torch.optim.SGD, "step", noted)
    monkeypatch.setattr("transferbench.training.loop.held_out_accuracy", measure)
    run(tmp_path, net=net, ema=0.9)
    average, expected = followed[0], []
    for step, weight in enumerate(followed, start=1):
        average = average if step == 1 else 0.9 * average + 0.1 * weight
        expected += [average] if step % 6 == 0 else []
    assert len(measured) == len(expected) == 4
    for found, by_hand, weight in zip(measured, expected, followed[5::6], strict=True):
        assert torch.allclose(found, by_hand, atol=1e-6)
        assert not torch.allclose(weight, by_hand, atol=1e-3)


@pytest.mark.parametrize("stopped_at", [None, 20])
def test_the_rate_falls_when_top_1_no_longer_improves_also_over_a_stop(tmp_path, monkeypatch, stopped_at):
    """By hand, with a patience of one epoch: the third is no better than the second, the fifth than the fourth."""
    measured = iter([(0.3, 0.5), (0.4, 0.6), (0.4, 0.7), (0.5, 0.8), (0.5, 0.9), (0.6, 1.0)])  # top-5 always improves
    monkeypatch.setattr("transferbench.training.loop.held_out_accuracy", lambda *_, **__: next(measured))
    how = {"epochs": 6, "schedule": Plateau(kind="plateau", drops=3, patience=1, least=0.0), "save_every_steps": 1}
    if stopped_at:
        with pytest.raises(InterruptedError):
            run(tmp_path, progress=Stopping(stopped_at), **how)
    _, history = run(tmp_path, **how)
    assert [line.accuracy for line in history] == [0.3, 0.4, 0.4, 0.5, 0.5, 0.6]
    assert [line.learning_rate for line in history] == pytest.approx([0.05, 0.05, 0.05, 0.005, 0.005, 0.0005])


def test_held_out_accuracy_counts_every_image_once():
    images = Blobs(21, 3)

    class Zero(nn.Module):
        def forward(self, crops, shifts, draws):
            return torch.tensor([[1.0, 0.0]]).repeat(len(crops), 1)

    top1, top5 = held_out_accuracy(Zero(), images, at_once=4, execution=execution(None), processes=Processes())
    assert top1 == pytest.approx(float((images.labels == 0).mean()))
    assert top5 == 1.0


def test_top_k_agrees_with_scikit_learn_and_a_score_that_is_no_number_is_wrong():
    from sklearn.metrics import top_k_accuracy_score

    random = np.random.default_rng(0)
    scores, labels = random.normal(size=(300, 12)), random.integers(0, 12, 300)
    better = better_classes(torch.from_numpy(scores), torch.from_numpy(labels))
    for k in (1, 5):
        assert float((better < k).double().mean()) == pytest.approx(top_k_accuracy_score(labels, scores, k=k))
    broken = torch.tensor([[float("nan"), 0.0], [0.0, float("nan")]])
    assert better_classes(broken, torch.tensor([0, 0])).tolist() == [2, 2]
    assert better_classes(torch.zeros(2, 8), torch.tensor([0, 6])).tolist() == [0, 6]
