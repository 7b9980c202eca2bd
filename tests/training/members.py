"""Processes that train together on this machine, over Gloo: forked from one that has already loaded torch."""

import multiprocessing
import os
import signal
import socket
import traceback
from contextlib import contextmanager
from pathlib import Path

import numpy as np

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["tests.training.blobs", "transferbench.training.loop", "transferbench.pipeline.training", "torch.distributed"]
)


def together(world, work, *args):
    """Run ``work(processes, *args)`` in so many processes; return their exit codes."""
    return _started(world, _member, work, args)


def commands(world, arguments, prepare=None, *args):
    """Run `tb` in so many processes, as torchrun starts it, after ``prepare(*args)``; return their exit codes."""
    return _started(world, _command, [str(argument) for argument in arguments], prepare, args)


def _started(world, what, *args):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    members = [_FORKS.Process(target=what, args=(rank, world, port, *args)) for rank in range(world)]
    for member in members:
        member.start()
    for member in members:
        member.join(timeout=400)  # a busy machine may stand still for a while
        if member.is_alive():
            member.kill()
            member.join()
    return [member.exitcode for member in members]


def _member(rank, world, port, work, args):
    import torch

    from transferbench.errors import TransferbenchError
    from transferbench.training.processes import together as joined

    torch.set_num_threads(1)
    os.environ |= _surroundings(rank, world, port)
    try:
        with joined("cpu") as processes:
            work(processes, *args)
    except TransferbenchError:
        os._exit(1)
    except BaseException:  # noqa: BLE001 - whatever it is, the test must see it
        traceback.print_exc()
        os._exit(3)
    os._exit(0)


def _command(rank, world, port, arguments, prepare, args):
    import torch

    from transferbench.cli import main

    torch.set_num_threads(1)
    multiprocessing.set_start_method("fork", force=True)  # of the loader's workers, as torchrun's processes have it
    os.environ |= _surroundings(rank, world, port)
    if prepare is not None:
        prepare(*args)
    main(arguments, prog_name="tb")


def _surroundings(rank, world, port):
    """Say what torchrun says to every process."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def save_gradient(processes, folder, dropout):
    """Compute the gradient of one step of 7 images, in parts of 2, and write it down."""
    from tests.training.blobs import Blobs, Net, execution, options
    from transferbench.training.descent import Descent
    from transferbench.training.order import parts_of_step

    descent = Descent(Net(dropout), options(), execution(folder), processes)
    rows = np.arange(7)
    parts = list(Blobs(9, 1).batches(parts_of_step(rows, processes, 2)[0], 0))
    found = descent.gradient(parts, len(rows), 0)
    if processes.first:
        np.savez(Path(folder) / f"{processes.world}.npz", **{name: value.numpy() for name, value in found.items()})


def save_accuracy(processes, folder):
    """Measure held-out accuracy of a net that has learnt nothing."""
    from tests.training.blobs import Blobs, Net, execution
    from transferbench.training.measure import held_out_accuracy

    images = Blobs(23, 5)
    found = held_out_accuracy(Net(), images, at_once=4, execution=execution(folder), processes=processes)
    Path(folder, f"{processes.world}-{processes.rank}.txt").write_text(f"{found} {sorted(images.visits)}")


def run(processes, folder, die_at=None, number=signal.SIGKILL, save_every_steps=None):
    """Train; end one process (by its rank) at a step."""
    import torch

    from tests.training.blobs import Blobs, Net, execution, options
    from transferbench.progress import Silent
    from transferbench.training.loop import train

    rank, step = die_at or (-1, -1)

    class Dying(Silent):
        @contextmanager
        def task(self, description, total, *, done=0):
            class Task:
                left = step

                def advance(self, n=1, note=""):
                    self.left -= 1
                    if self.left == 0 and rank in {processes.rank, -2}:
                        os.kill(os.getpid(), number)

            yield Task()

    carried = execution(Path(folder), save_every_steps=save_every_steps)
    _, result = train(Net(), Blobs(41, 1), Blobs(20, 2), options(), carried, progress=Dying(), processes=processes)
    if processes.first:
        torch.save(result.state_dict(), Path(folder) / "result.pt")
