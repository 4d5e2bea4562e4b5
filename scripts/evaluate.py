"""Play the checkpoints of a run again, and compute its table and matrix again.

python -m continual_arcade.scripts.evaluate runs/FlappyBird-shrink__finetune__0__20261121T120000Z
"""

from collections.abc import Sequence

import tyro

from continual_arcade.scripts.cli import run
from continual_arcade.scripts.options import Evaluate


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""

    def command() -> int | None:
        args = tyro.cli(Evaluate, args=arguments, description=__doc__)
        # Only now: PyTorch takes seconds to load, too long to wait for what was mistyped.
        from continual_arcade.scripts.evaluating import evaluate

        return evaluate(args)

    run(command)


if __name__ == "__main__":
    main()
