"""The `humo` command, put together from whatever packages announce commands.

Each package names a `register(app)` function under the entry-point group `humo.commands`; it adds its commands to
the typer application. Nothing is imported upward, and a command imports what it needs when it runs, so that
`humo status` does not wait for torch.
"""

import errno
import sys
from importlib.metadata import entry_points, version
from typing import Annotated, Any

import typer
from typer.exceptions import Abort, TyperException

from schemas.errors import UserError, WorkFailed

COMMAND = (sys.executable, "-c", "from schemas.command_line import main; main()")
"""`humo`, for a process of its own."""

NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EISDIR)
"""A place that was named cannot be used so: never a mistake of the program, but of what it was given."""

HELP = "Videos of people from text, reference images and speech: curation, training, generation."


def build() -> typer.Typer:
    """The application with every announced command, in the order of the packages' names."""
    app = typer.Typer(name="humo", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback(help=HELP)(_every_command)
    for entry_point in sorted(entry_points(group="humo.commands"), key=lambda point: point.name):
        entry_point.load()(app)
    return app


def _tell_version(asked: bool) -> None:
    if asked:
        print(f"humo {version('humo')}")
        raise typer.Exit


def _every_command(
    _version: Annotated[
        bool, typer.Option("--version", help="Say which version this is", callback=_tell_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before any command."""


def run(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 done with failures, 2 wrong use, 130 interrupted."""
    command = typer.main.get_command(build())
    try:
        result: Any = command.main(args=arguments, prog_name="humo", standalone_mode=False)
    except UserError as error:
        print(f"humo: {error}", file=sys.stderr)
        return 2
    except WorkFailed as error:
        print(f"humo: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            print(f"humo: there is no room left ({error}); make some, and give the same command again", file=sys.stderr)
            return 1
        if error.errno not in NOT_ALLOWED or not error.filename:
            raise
        print(f"humo: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except TyperException as error:
        # The bare command asks for its help, which is not one line.
        text = error.format_message()
        if text:
            print(text if "\n" in text else f"humo: {text} Try 'humo --help'.", file=sys.stderr)
        return 2
    except (Abort, KeyboardInterrupt):
        print("humo: interrupted; give the same command again to go on", file=sys.stderr)
        return 130
    return result if isinstance(result, int) else 0


def main() -> None:
    """Console entry point."""
    sys.exit(run())
