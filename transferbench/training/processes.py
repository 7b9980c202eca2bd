"""One process or the many of a torchrun: the same calls, which do nothing when there is but one."""

import inspect
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from transferbench.errors import TrainingError

_PATIENCE = timedelta(minutes=10)  # the first process may write a checkpoint, or compile, while the others wait


@dataclass(frozen=True, slots=True)
class Processes:
    """One process among those that train one net together.

    Parameters
    ----------
    rank : int
        Number of this one, from 0.
    world : int
        How many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this one speaks and writes for all."""
        return self.rank == 0

    def share(self, net: nn.Module, device: str) -> nn.Module:
        """Let the backward pass average gradients over all processes.

        Parameters
        ----------
        net : Module
            The same in all; weights are taken from the first.
        device : str
            Where it is.

        Returns
        -------
        Module
            The net itself if there is one process.
        """
        if self.world == 1:
            return net
        for parameter in net.parameters():
            if parameter.shape[2:] == (1, 1):
                # In channels-last memory its strides are others than those of its gradient, which torch would copy.
                parameter.data = parameter.data.clone(memory_format=torch.contiguous_format)
        ids = [torch.device(device)] if device.startswith("cuda") else None
        # Buffers are constants. Torch calls the option otherwise from 2.14 on, and warns of its old name.
        known = inspect.signature(DistributedDataParallel).parameters
        constant: Any = {"forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers": False}
        return DistributedDataParallel(net, device_ids=ids, gradient_as_bucket_view=True, **constant)

    def sum(self, values: Tensor) -> Tensor:
        """Add values up over all processes.

        Parameters
        ----------
        values : Tensor
            Changed in place.

        Returns
        -------
        Tensor
            The same in all processes.
        """
        if self.world > 1:
            distributed.all_reduce(values)
        return values

    def collect(self, value: Any) -> list[Any]:
        """Bring a plain value or tensor of every process together.

        Parameters
        ----------
        value : object
            Of this process.

        Returns
        -------
        list
            By rank, in all processes.
        """
        if self.world == 1:
            return [value]
        found: list[Any] = [None] * self.world
        distributed.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Go on when all have come here."""
        if self.world > 1:
            distributed.barrier()


def without_sum(net: nn.Module) -> AbstractContextManager[None]:
    """Let a backward pass keep its gradients to itself: more of the batch is to come.

    Parameters
    ----------
    net : Module
        As `Processes.share` returned it.

    Returns
    -------
    context manager
        Does nothing for a single process.
    """
    return net.no_sync() if isinstance(net, DistributedDataParallel) else nullcontext()


@contextmanager
def together(device: str) -> Iterator[Processes]:
    """Join the other processes of a torchrun.

    Parameters
    ----------
    device : str
        GPUs talk by NCCL, processors by Gloo.

    Yields
    ------
    Processes
        Of one process where there is no torchrun.

    Raises
    ------
    TrainingError
        If another process has gone away, or there are more processes than GPUs.
    """
    world, gpu = int(os.environ.get("WORLD_SIZE", "1")), device.startswith("cuda")
    if gpu and torch.device(device).index is not None:  # plain "cuda" is the current one already
        torch.cuda.set_device(device)  # of pinned memory, random streams and barriers, which name no device
    if world == 1:
        yield Processes()
        return
    if gpu:
        _refuse_to_share()
    done = False
    try:
        store, rank, _ = next(rendezvous("env://", timeout=_PATIENCE))
        distributed.init_process_group(
            "nccl" if gpu else "gloo",
            timeout=_PATIENCE,
            store=_of_this_start(store),
            rank=rank,
            world_size=world,
            device_id=torch.device(device) if gpu else None,
        )
        yield Processes(distributed.get_rank(), world)
        done = True
    except RuntimeError as problem:
        if not _is_about_the_others(problem):
            raise
        msg = (
            "another process of this training has stopped, or cannot be reached; see its own message.\n"
            "  Finished work is kept: run the same command again, or let torchrun do it (--max-restarts)."
        )
        raise TrainingError(msg) from problem
    finally:
        # NCCL takes leave by finishing what was begun, and would wait for those who will never come.
        if distributed.is_initialized() and (done or not gpu):
            distributed.destroy_process_group()


def _of_this_start(store: Store) -> Store:
    """Keep apart what processes told each other before torchrun started them anew.

    torchrun's own store outlives a restart, with the addresses of the dead under the names where the living look for
    each other: who reads one waits for a call that never comes. On several machines the number of restarts differs from
    one to the next, so there the store stays as it is.
    """
    alone = os.environ.get("LOCAL_WORLD_SIZE") == os.environ["WORLD_SIZE"]
    starts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") if alone else "any"
    return PrefixStore(f"start {starts}", store)


def _refuse_to_share() -> None:
    here, gpus = int(os.environ.get("LOCAL_WORLD_SIZE", "1")), torch.cuda.device_count()
    if here > gpus:
        msg = f"{here} processes of this machine have {gpus} GPU(s).\n  Start as many: torchrun --nproc-per-node {gpus}"
        raise TrainingError(msg)


def _is_about_the_others(problem: RuntimeError) -> bool:
    """Gloo raises plain RuntimeErrors; they are known by their words."""
    text = str(problem)
    return isinstance(problem, distributed.DistError) or any(
        word in text for word in ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    )
