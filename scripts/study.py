"""Run a study: methods x schedules x games x seeds from one file, and report its results.

python -m continual_arcade.scripts.study run quick

python -m continual_arcade.scripts.study status quick

python -m continual_arcade.scripts.study report quick
"""

import sys
from collections.abc import Sequence

import tyro

from continual_arcade.evaluation.terminal import plain_console
from continual_arcade.scripts.cli import run
from continual_arcade.scripts.options import (
    Add,
    MakeReport,
    Publish,
    Resume,
    Run,
    Status,
    Tune,
    Verify,
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = sys.argv[1:] if arguments is None else arguments

    def command() -> int | None:
        args = tyro.extras.subcommand_cli_from_dict(
            {
                "run": Run,
                "status": Status,
                "report": MakeReport,
                "resume": Resume,
                "add": Add,
                "verify": Verify,
                "tune": Tune,
                "publish": Publish,
            },
            args=given,
            description=__doc__,
        )
        # Only now: PyTorch takes seconds to load, too long to wait for what was mistyped.
        from continual_arcade.scripts import study_commands as commands

        console = plain_console()
        match args:
            case Run():
                return commands.run_study(args, console, given)
            case Status():
                return commands.status(args, console)
            case MakeReport():
                return commands.report_study(args, console)
            case Resume():
                return commands.resume_study(args, console)
            case Add():
                return commands.add_to_study(args, console, given)
            case Verify():
                return commands.verify_study(args, console)
            case Tune():
                commands.tune_methods(args, console, given)
            case Publish():
                print(f"the results are in {commands.publish_study(args)}")
        return None

    run(command)


if __name__ == "__main__":
    main()
