"""Addition facts: the experiment by which catastrophic forgetting became known.

A network learns the seventeen facts with a 1 in them (1 + 1 to 1 + 9, and 2 + 1 to 9 + 1), then
those with a 2, and forgets the first within a few passes through the second (McCloskey and Cohen
1989, "Catastrophic interference in connectionist networks: the sequential learning problem",
experiment 1). Inputs are theirs, as they are remembered: 12 units for each operand, of which 3 that
follow one another are on, and 4 for the operator. Theirs were 24 outputs for the digits of the sum,
here there is an action for each sum.
"""

from typing import Any, NamedTuple

from continual_arcade.envs.checks import flag
from continual_arcade.envs.compiling import rule
from continual_arcade.envs.game import Feature, Game
from continual_arcade.envs.labelled import (
    LANE_FIELDS,
    NUM_QUESTIONS,
    indices,
    labelled_rules,
)
from continual_arcade.envs.tunables import Tunable, Tunables

DIGITS = 9
FACTS = 2 * DIGITS - 1
"""Facts with one addend: it comes first, or second, and once it is both."""
UNITS, ON, SIGN = 12, 3, 4
"""Units of an operand, those of them that are on, and units of the operator."""
LEAST = 2
"""The smallest sum."""


class Constants(NamedTuple):
    """What all lanes of a block share."""

    questions: float


@rule
def constants(block: Any) -> Constants:
    """Read what all lanes share, once for a whole loop."""
    return Constants(block.questions)


@rule
def _set_task(block: Any, lane: int, params: Any, row: int) -> None:
    block.addend[lane] = params[row, 0]


@rule
def _num_examples(block: Any, lane: int, constants: Any) -> float:
    return float(FACTS)


@rule
def _other(block: Any, lane: int) -> Any:
    """Return the other operand: 1 to 9 where the addend is first; the rest where it is second."""
    example = block.example[lane]
    if example < DIGITS:
        return example + 1.0
    rest = example - DIGITS + 1.0
    return rest if rest < block.addend[lane] else rest + 1.0


@rule
def _right_answer(block: Any, lane: int, constants: Any) -> Any:
    return block.addend[lane] + _other(block, lane) - LEAST


@rule
def observe(block: Any, lane: int, constants: Any, out: Any, at: int) -> None:
    """Write the units of both operands, and of the operator, which are always on."""
    addend, other = int(block.addend[lane]), int(_other(block, lane))
    is_first = block.example[lane] < DIGITS
    first = addend if is_first else other
    second = other if is_first else addend
    for unit in range(UNITS):
        out[at + unit] = 1.0 if first <= unit < first + ON else 0.0
        out[at + UNITS + unit] = 1.0 if second <= unit < second + ON else 0.0
    for unit in range(SIGN):
        out[at + 2 * UNITS + unit] = 1.0


RULES = labelled_rules(
    constants=constants,
    set_task=_set_task,
    num_examples=_num_examples,
    right_answer=_right_answer,
    observe=observe,
)

TUNABLES: Tunables = {
    "addend": Tunable(
        default=1,
        low=1,
        high=DIGITS,
        unit="",
        harder="either",
        about="the number that all facts have in them",
        integer=True,
    )
}
CONFLICT = {"ones": {"addend": 1.0}, "twos": {"addend": 2.0}}


def features() -> tuple[Feature, ...]:
    """Describe the observation."""
    operands = [
        Feature(f"{operand}_{unit}", 0.0, 1.0, f"unit {unit} of the {operand} operand")
        for operand in ("first", "second")
        for unit in range(UNITS)
    ]
    signs = [Feature(f"plus_{unit}", 0.0, 1.0, "1: the facts are sums") for unit in range(SIGN)]
    return (*operands, *signs)


def addition_facts(exam: bool = False) -> Game:
    """Return the game.

    Args:
        exam: Whether an episode asks all facts, one after the other; else one that is drawn.
    """
    questions = float(FACTS) if flag("exam", exam) else 0.0
    return Game(
        name="AdditionFacts",
        actions=tuple(map(str, range(LEAST, 2 * DIGITS + 1))),
        tunables=TUNABLES,
        features=features(),
        constants={NUM_QUESTIONS: questions},
        lane_fields=LANE_FIELDS,
        indices=indices(FACTS, questions),
        rules=RULES,
        size=(640, 360),
        points=f"right answers of {FACTS}",
        maker=addition_facts,
        options={"exam": exam},
        evaluated_with={"exam": True},
        conflict=CONFLICT,
        oracle="continual_arcade.envs.oracles.labelled:Answers",
        unbeatable="continual_arcade.envs.oracles.labelled:Answers",
    )
