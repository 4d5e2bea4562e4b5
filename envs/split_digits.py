"""Split digits, of which only the first or the second class of a pair is asked.

The streams of van de Ven et al. (2022, "Three types of incremental learning") in which tasks differ
by what is seen, and not by what is answered: 0 or 1, 2 or 3, and so on are always told apart by the
same two actions. With ``heads = "per_phase"`` it is their task-incremental stream, without their
domain-incremental one; their class-incremental one is ``Digits`` with its ``split``.
"""

from dataclasses import replace
from typing import Any

from continual_arcade.envs.compiling import rule
from continual_arcade.envs.digits import (
    IN_SPLIT,
    SOURCE,
    constants,
    digits,
    first_class,
    num_examples,
    observe,
    right_answer,
    set_task,
)
from continual_arcade.envs.game import Game
from continual_arcade.envs.labelled import labelled_rules


@rule
def _place(block: Any, lane: int, constants: Any) -> Any:
    """Return whether it is the first or the second class of the split."""
    return right_answer(block, lane, constants) - first_class(block, lane)


RULES = labelled_rules(
    constants=constants,
    set_task=set_task,
    num_examples=num_examples,
    right_answer=_place,
    observe=observe,
)


def split_digits(images: str = SOURCE, exam: bool = False) -> Game:
    """Return the game; arguments and errors as of :func:`digits`."""
    whole = digits(images, exam)
    pair = replace(
        whole.tunables["split"],
        default=1,
        low=1,
        about=f"which {IN_SPLIT} classes are told apart: 1 for the first ones",
    )
    return replace(
        whole,
        name="SplitDigits",
        actions=tuple(map(str, range(IN_SPLIT))),
        tunables={**whole.tunables, "split": pair},
        rules=RULES,
        maker=split_digits,
    )
