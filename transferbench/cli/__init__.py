"""The command line: options in, one call into `transferbench.pipeline`, text out.

Heavy imports stay inside the commands.
"""

import click

from transferbench import __version__
from transferbench.cli.boundary import Boundary
from transferbench.cli.cache import cache
from transferbench.cli.datasets import datasets
from transferbench.cli.doctor import doctor
from transferbench.cli.evaluate import evaluate
from transferbench.cli.extract import extract
from transferbench.cli.nets import nets
from transferbench.cli.plan import plan
from transferbench.cli.pretrain import pretrain
from transferbench.cli.recipes import recipes
from transferbench.cli.report import report
from transferbench.cli.results import results
from transferbench.cli.run import run
from transferbench.cli.runs import runs
from transferbench.cli.submit import submit
from transferbench.cli.sweep import sweep
from transferbench.cli.weights import weights


@click.group(cls=Boundary, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tb")
def main() -> None:
    """Measure how well a convolutional network transfers to other image datasets.

    The protocol is that of Simonyan & Zisserman (2015): pretrain a net, keep it frozen, extract dense descriptors at
    several scales, aggregate them, train linear SVMs, report beside the published numbers.

    \b
    Example:
      tb recipes list
      tb run digits_stack
      tb report
    """


_COMMANDS = (
    run,
    plan,
    pretrain,
    extract,
    evaluate,
    sweep,
    report,
    results,
    submit,
    recipes,
    datasets,
    nets,
    weights,
    runs,
    cache,
    doctor,
)
for _command in _COMMANDS:
    main.add_command(_command)
