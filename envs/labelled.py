"""Streams of labelled examples: games in which an example is seen, and the action is an answer.

An environment of such a game is a contextual bandit: an episode is one example, drawn afresh with
equal probability from those of the task, the reward is 1 for the right answer and 0 for any other,
and what comes next has nothing to do with it. What drifts says which examples there are, and what
they look like. The right answer, the *label*, is told afterwards in ``info["label"]``.

As an *exam* (option ``exam``), which is what agents are evaluated by, an episode asks a number of
questions in a fixed order, evenly spread over all examples of the task (over each of them once, if
there are as many): the score is the number of right answers, and nothing in it is drawn.

A game gives the rules below; this module has the rest.
"""

from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from continual_arcade.envs.compiling import rebind, rule
from continual_arcade.envs.game import HowMany, Rules
from continual_arcade.envs.lanes import DRAW, OVER
from continual_arcade.envs.randomness import draw

LANE_FIELDS: dict[str, tuple[int, ...]] = {"example": (), "label": (), "question": ()}
"""What is remembered: which example of the task is seen, its label, and how many questions of the
episode were answered."""
NUM_QUESTIONS = "questions"
"""The constant with the number of questions of an exam; 0 in training."""


def indices(num_examples: HowMany, num_questions: float) -> dict[str, HowMany]:
    """Return ``Game.indices`` of a stream, but for labels, which are actions.

    Args:
        num_examples: How many examples the task has.
        num_questions: Those of an exam; 0 in training.
    """
    return {"example": num_examples, "question": max(int(num_questions), 1) + 1}


def _stand_in(*_: Any) -> NoReturn:
    raise NotImplementedError("a template runs only with the rules of a game")


set_task: Callable[..., None] = _stand_in
num_examples: Callable[..., Any] = _stand_in
right_answer: Callable[..., Any] = _stand_in


def _ask(block: Any, lane: int, constants: Any) -> None:
    """Show an example."""
    count = num_examples(block, lane, constants)
    if constants.questions > 0.0:
        example = np.floor(block.question[lane] * count / constants.questions)
    else:
        example = draw(block, lane, 0.0, 1.0, count)
    block.example[lane] = example
    block.label[lane] = right_answer(block, lane, constants)


ask: Callable[..., None] = _stand_in


def _begin(block: Any, lane: int, constants: Any, params: Any, row: int, velocity: float) -> None:
    """Start an episode."""
    set_task(block, lane, params, row)
    block.question[lane] = 0.0
    ask(block, lane, constants)


@rule
def _advance(block: Any, lane: int, constants: Any) -> None:
    """Take the answer."""
    right = 1.0 if block.action[lane] == block.label[lane] else 0.0
    block.question[lane] += 1.0
    block.score[lane] += right
    block.reward[lane] = right
    block.event[lane] = DRAW if block.question[lane] < constants.questions else OVER


def labelled_rules(
    *,
    constants: Callable[..., Any],
    set_task: Callable[..., None],
    num_examples: Callable[..., Any],
    right_answer: Callable[..., Any],
    observe: Callable[..., None],
) -> Rules:
    """Return the rules of a stream of labelled examples. All are rules over one lane.

    Args:
        constants: ``constants(block)``: read what all lanes share; ``questions`` is among it.
        set_task: ``set_task(block, lane, params, row)``: take over the tunables in ``params[row]``.
        num_examples: ``num_examples(block, lane, constants)``: how many examples the task has.
        right_answer: ``right_answer(block, lane, constants)``: label of ``block.example[lane]``.
        observe: As of every game.
    """
    asked = rule(rebind(_ask, {"num_examples": num_examples, "right_answer": right_answer}))
    begun = rule(rebind(_begin, {"set_task": set_task, "ask": asked}))
    return Rules(constants, begun, _advance, asked, observe, labelled=True)
