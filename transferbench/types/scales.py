"""Short sides of rescaled images: the scales at which a net sees them, and how they are written."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

DEFAULT_SCALE_STEP_PX = 128


@dataclass(frozen=True, slots=True)
class Scales:
    """Ascending short sides in pixels: Q at test time, S in training.

    Parameters
    ----------
    sides_px : tuple of int
        Strictly ascending; the order is the order of the blocks in a stack.

    Raises
    ------
    ValueError
        If empty, not positive or not strictly ascending.
    """

    sides_px: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.sides_px:
            msg = "at least one short side is needed"
            raise ValueError(msg)
        if self.sides_px[0] < 1:
            msg = f"a short side must be at least 1 px, got {self.sides_px[0]}"
            raise ValueError(msg)
        if any(a >= b for a, b in zip(self.sides_px, self.sides_px[1:], strict=False)):
            ordered = ",".join(map(str, sorted(set(self.sides_px))))
            msg = f"short sides must ascend without repeats, got {self}; write {ordered}"
            raise ValueError(msg)

    @classmethod
    def parse(cls, text: str) -> "Scales":
        """Read ``256..768`` (steps of 128 px), ``64..128:32`` (own step) or a list ``256,384``.

        Parameters
        ----------
        text : str
            As typed after ``--scales``.

        Returns
        -------
        Scales
            Both ends of a range are included.

        Raises
        ------
        ValueError
            If the text is neither form, or the range is not a whole number of steps.

        Examples
        --------
        >>> Scales.parse("256..768").sides_px
        (256, 384, 512, 640, 768)
        """
        if match := re.fullmatch(r"(\d+)\.\.(\d+)(?::(\d+))?", text.strip()):
            first, last = int(match[1]), int(match[2])
            step = int(match[3] or DEFAULT_SCALE_STEP_PX)
            if step < 1 or last < first or (last - first) % step:
                msg = (
                    f"{text} is not a whole number of {step}-pixel steps upwards; write FIRST..LAST:STEP "
                    "or a list such as 256,384"
                )
                raise ValueError(msg)
            return cls(tuple(range(first, last + 1, step)))
        if re.fullmatch(r"\d+(\s*,\s*\d+)*", text.strip()):
            return cls(tuple(int(part) for part in text.split(",")))
        msg = f"{text!r} is neither a range such as 256..768 nor a list such as 256,384,512"
        raise ValueError(msg)

    def __str__(self) -> str:
        return ",".join(map(str, self.sides_px))

    def __iter__(self) -> Iterator[int]:
        return iter(self.sides_px)

    def __len__(self) -> int:
        return len(self.sides_px)
