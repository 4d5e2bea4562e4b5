"""Train an agent through a schedule of phases, and show what it forgot.

python -m continual_arcade.scripts.train --schedule conflict --method mer

python -m continual_arcade.scripts.train --scenario catcher-conflict --method ewc

python -m continual_arcade.scripts.train --replay reservoir --part ewc:lam=10 --part reptile

python -m continual_arcade.scripts.train --scenario catcher-conflict --algorithm ppo

python -m continual_arcade.scripts.train --seeds 0..19 --jobs 4

python -m continual_arcade.scripts.train --resume runs/RUN
"""

import sys
from collections.abc import Sequence

import tyro

from continual_arcade.scripts.cli import run
from continual_arcade.scripts.options import TrainMany


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    given = sys.argv[1:] if arguments is None else arguments

    def command() -> int | None:
        listed = ""
        if {"-h", "--help"} & set(given):
            from continual_arcade.scripts.catalogue import catalogue

            listed = catalogue()
        args = tyro.cli(TrainMany, args=given, description=f"{__doc__}\n{listed}")
        # Only now: PyTorch takes seconds to load, too long to wait for what was mistyped.
        from continual_arcade.scripts import training

        return training.carry_out(args, given)

    run(command)


if __name__ == "__main__":
    main()
