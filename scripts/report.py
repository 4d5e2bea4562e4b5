"""Write one page about runs: tables, curves, matrices and films, and every table as a file.

python -m continual_arcade.scripts.report runs/FlappyBird-conflict__* -o report.html
"""

from collections.abc import Sequence

import tyro

from continual_arcade.evaluation.terminal import plain_console
from continual_arcade.scripts.cli import NOTICE, run
from continual_arcade.scripts.options import Report


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""

    def command() -> int | None:
        args = tyro.cli(Report, args=arguments, description=__doc__)
        # Only now: pandas and matplotlib take their time to load.
        from continual_arcade.scripts.reporting import report

        left_out = report(args, plain_console())
        print(f"the report is in {args.out}")
        return NOTICE if left_out else None

    run(command)


if __name__ == "__main__":
    main()
