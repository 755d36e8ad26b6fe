"""The command line. Heavy libraries are imported by the command that needs them, so that `--help` answers at once."""

from __future__ import annotations

import errno
import sys

import typer

from harness import logs
from harness.cli import runs, tools  # noqa: F401 - they register their commands
from harness.cli.common import app
from harness.errors import HarnessError

USER_MISTAKE = 2
INTERRUPTED = 130

__all__ = ["app", "main"]


def main() -> None:
    """Entry point: a user's mistake is one message and exit code 2, never a traceback."""
    logs.prepare_environment()
    try:
        app(standalone_mode=True)
    except HarnessError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(USER_MISTAKE)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        typer.echo(f"error: {error.filename or 'a file'}: no space left on the disk; free some and run again", err=True)
        sys.exit(USER_MISTAKE)
    except KeyboardInterrupt:
        typer.echo("interrupted; run the same command again to go on", err=True)
        sys.exit(INTERRUPTED)
