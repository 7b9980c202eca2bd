"""`tb pretrain` in one process of several, which SIGKILL ends at a random step, in the middle of whatever it does then.

A program for torchrun: every start of the processes looks up in a plan what becomes of it.
"""

import os
import random
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Death:
    """Which ranks die, at which step after the start, and how much later."""

    ranks: tuple[int, ...]
    step: int
    delay_s: float


def plan(seed, n):
    """Draw so many deaths; a delay reaches into the next steps, the saving or the measuring."""
    dice = random.Random(seed)
    return [
        Death(dice.choice([(0,), (1,), (0, 1)]), dice.randint(1, 5), dice.choice([0.0, dice.uniform(0, 0.08)]))
        for _ in range(n)
    ]


def die_by(death):
    """Let this process be killed as the plan says."""
    from transferbench.training.loop import _Run

    step, made = _Run._step, 0

    def counted(run, *args, **kwargs):
        nonlocal made
        made += 1
        if made == death.step and int(os.environ["RANK"]) in death.ranks:
            threading.Thread(target=_kill, args=(death.delay_s,), daemon=True).start()
        return step(run, *args, **kwargs)

    _Run._step = counted


def _kill(delay_s):
    time.sleep(delay_s)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    from transferbench.cli import main

    deaths, started = plan(8, int(sys.argv.pop(1))), Path(sys.argv.pop(1))
    start = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
    (started / str(start)).touch()
    if start < len(deaths):
        die_by(deaths[start])
    main(prog_name="tb")
