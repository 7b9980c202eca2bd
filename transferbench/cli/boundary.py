"""The one place where errors become messages and exit codes.

0 done, 1 an error that the user can mend, 2 usage, 130 interrupted, 143 terminated.
"""

import errno
import os
import signal
import sys
import warnings
from types import FrameType
from typing import Any

import click

from transferbench.errors import TransferbenchError

INTERRUPTED, TERMINATED = 130, 143
_KEPT = "Finished work is kept; run the same command again to go on."


class Boundary(click.Group):
    """The top command group; everything below it raises `TransferbenchError` and knows no exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """List the commands in the order of the work, not of the alphabet."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command and translate what it raises; a bug keeps its traceback."""
        signal.signal(signal.SIGTERM, _terminate)
        warnings.showwarning = _show_warning  # type: ignore[assignment]  # takes fewer names, not fewer values
        try:
            return super().invoke(ctx)
        except TransferbenchError as error:
            raise click.ClickException(str(error)) from error
        except OSError as problem:
            # EPIPE is click's: whoever read stdout has gone. Without a number it is no answer of the system.
            if problem.errno in {None, errno.EPIPE}:
                raise
            _let_go_of_stdout()
            where = f": {problem.filename}" if problem.filename is not None else ""
            msg = f"the system says: {problem.strerror}{where}.\n  Nothing that was finished is lost."
            raise click.ClickException(msg) from problem
        except KeyboardInterrupt:
            click.echo(f"\nInterrupted. {_KEPT}", err=True)
            ctx.exit(INTERRUPTED)


def _let_go_of_stdout() -> None:
    """Drop what a full disk does not take: Python would try once more when it ends, and exit with a code of its own."""
    try:
        if sys.stdout is not None:  # it is None where a shell has closed it
            sys.stdout.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _show_warning(message: Warning | str, *_details: Any) -> None:
    """Show a warning as a sentence: where in our code it was raised is of no use to a user."""
    click.echo(f"Warning: {message}", err=True)


def _terminate(_number: int, _frame: FrameType | None) -> None:
    click.echo(f"Terminated. {_KEPT}", err=True)
    sys.exit(TERMINATED)
