"""How fast and how well it goes: the words beside the bar, and a line for the watch every few steps."""

import time
from collections.abc import Sequence

from transferbench.training.watch import Epoch, StepLine, Watch

_EVERY_STEPS = 20
_EVERY_S = 10.0


class Pace:
    """Sums up steps.

    Parameters
    ----------
    watch : Watch
        Gets a line every 20 steps, every 10 seconds where steps are long, and at the end of an epoch.
    steps_per_epoch : int
        Of the run.
    """

    def __init__(self, watch: Watch, steps_per_epoch: int) -> None:
        self._watch = watch
        self._steps_per_epoch = steps_per_epoch
        self._since = time.monotonic()
        self._steps, self._images, self._loss = 0, 0, 0.0
        self._images_per_s = 0.0
        self._last = (0, 0.0)

    def begin(self) -> None:
        """Begin an epoch: the time that measuring and saving took is not that of the steps."""
        self._since = time.monotonic()

    def told(self, step: int, loss: float, n_images: int, rate: float, last: Sequence[Epoch] | None) -> str:
        """Take note of a step.

        Parameters
        ----------
        step : int
            Since the start of the run.
        loss : float
            Sum over its images.
        n_images : int
            Of the step.
        rate : float
            Its learning rate.
        last : sequence of Epoch or None
            The last finished one.

        Returns
        -------
        str
            For the bar: loss, rate, images per second, and the last measured accuracy.
        """
        self._steps, self._images, self._loss = self._steps + 1, self._images + n_images, self._loss + loss
        self._last = (step, rate)
        if self._steps >= _EVERY_STEPS or time.monotonic() - self._since >= _EVERY_S:
            self.line()
        words = [f"loss {loss / n_images:.3f}", f"rate {rate:g}"]
        words += [f"{self._images_per_s:,.0f} images/s"] if self._images_per_s else []
        words += [f"top-1 {last[-1].accuracy:.1%}, top-5 {last[-1].top5:.1%}"] if last else []
        return ", ".join(words)

    def line(self) -> None:
        """Tell the watch of the steps since the last line: so a run of few steps has a curve, too."""
        if not self._steps:
            return
        now, (step, rate) = time.monotonic(), self._last
        self._images_per_s = self._images / max(now - self._since, 1e-9)
        self._watch.step(
            StepLine(
                step=step,
                epoch=step / self._steps_per_epoch,
                loss=self._loss / self._images,
                learning_rate=rate,
                images_per_s=self._images_per_s,
            )
        )
        self._since, self._steps, self._images, self._loss = now, 0, 0, 0.0
