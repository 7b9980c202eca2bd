"""Options that several commands share: one name, one type and one help text each. Imports nothing heavy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


class ScalesType(click.ParamType[Any]):
    """``256..768``, ``64..128:32`` or ``256,384``."""

    name = "scales"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Turn the option's text into `Scales`."""
        from transferbench.types.scales import Scales

        if isinstance(value, Scales):
            return value
        try:
            return Scales.parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


class DeviceType(click.ParamType[str]):
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N``."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check the spelling; whether the device is there is seen when it is needed."""
        base, _, number = str(value).partition(":")
        if value not in {"auto", "cpu", "cuda"} and not (base == "cuda" and number.isdecimal()):
            self.fail(f"{value!r} is not auto, cpu, cuda or cuda:N", param, ctx)
        return str(value)


def home_option(command: F) -> F:
    """Add ``--home``."""
    return click.option(
        "--home",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="TB_HOME",
        default=Path("~/.cache/transferbench"),
        show_default=True,
        show_envvar=True,
        help="Work folder: weights, runs, features, results.",
    )(command)


def data_options(command: F) -> F:
    """Add ``--data-dir`` and ``--limit``."""
    limit = click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="For a trial: up to N images of every class, in every part. Results are marked.",
    )
    return data_dir_option(limit(command))


def data_dir_option(command: F) -> F:
    """Add ``--data-dir``."""
    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="TB_DATA_DIR",
        show_envvar=True,
        help="Folder of the dataset's files, instead of data/NAME in the work folder.",
    )(command)


def device_option(command: F) -> F:
    """Add ``--device``."""
    return click.option(
        "--device",
        type=DeviceType(),
        default="auto",
        show_default=True,
        help="auto, cpu, cuda or cuda:N; auto takes a GPU if there is one.",
    )(command)


def engine_options(command: F) -> F:
    """Add ``--engine``, ``--precision`` and ``--compile``."""
    engine = click.option(
        "--engine",
        type=click.Choice(("auto", "torch", "ncnn")),
        default="auto",
        show_default=True,
        help="What runs the net: torch, ncnn (on CPUs, for the nets of Table 1), or the fastest that is installed.",
    )
    precision = click.option(
        "--precision",
        type=click.Choice(("auto", "float32", "bfloat16", "float16")),
        default="auto",
        show_default=True,
        help="Of the net's products; auto is bfloat16 on GPUs that have it, float32 elsewhere.",
    )
    compiled = click.option(
        "--compile", "compiled", is_flag=True, help="Let torch.compile make the net's kernels first: minutes, once."
    )
    return engine(precision(compiled(command)))


def bad_image_option(command: F) -> F:
    """Add ``--on-bad-image``."""
    return click.option(
        "--on-bad-image",
        type=click.Choice(("stop", "skip")),
        default="stop",
        show_default=True,
        help="An image that cannot be decoded stops the work by name, or is left out: recorded in the block, in every "
        "result and in every report.",
    )(command)


def json_option(command: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")(command)


def recipe_option(what: str = "recipe") -> Callable[[F], F]:
    """Add ``--recipe``."""
    return click.option(
        "--recipe",
        metavar="NAME",
        help=f"A shipped {what} (`tb recipes list`), or the path of a YAML file.",
    )


def floor_option(command: F) -> F:
    """Add ``--floor``."""
    return click.option(
        "--floor",
        "floors",
        metavar="KIND[,KIND]",
        help="Floors beside those of the recipe: random_weights, shuffled_labels, raw_pixels.",
    )(command)


def solver_option(command: F) -> F:
    """Add ``--solver``."""
    return click.option(
        "--solver",
        type=click.Choice(("auto", "gram", "rows", "liblinear")),
        default="auto",
        show_default=True,
        help="How the SVMs are fitted: by one Gram matrix, by rows in blocks, as their shape suggests (auto), or by "
        "scikit-learn's LinearSVC as the reference. All go to the same optimum.",
    )(command)


def spread_options(command: F) -> F:
    """Add ``--jobs`` and ``--scheduler``."""
    jobs = click.option(
        "--jobs",
        type=click.IntRange(min=1),
        default=1,
        show_default=True,
        metavar="N",
        help="Experiments side by side in N processes, which divide cores and memory among them. Worth it for many "
        "small ones: a large one uses all cores by itself.",
    )
    scheduler = click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="A Dask scheduler, for instance tcp://head:8786, to whose workers the splits of the experiments go one by "
        "one; they must see the work folder under the same path.",
    )
    return jobs(scheduler(command))


def refuse_spread_extraction(scheduler: str | None, jobs: int, *, with_extraction: bool) -> bool:
    """Tell whether experiments are to run side by side; not so while descriptors are extracted."""
    if scheduler is not None and jobs > 1:
        msg = "--jobs is for this machine and --scheduler for others: give one of them"
        raise click.UsageError(msg)
    if with_extraction and (scheduler is not None or jobs > 1):
        option = "--jobs" if scheduler is None else "--scheduler"
        msg = f"--extract and {option} do not go together: extract first, by torchrun on several machines"
        raise click.UsageError(msg)
    return scheduler is not None or jobs > 1
