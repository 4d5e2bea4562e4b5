"""The judge: plays an agent in every phase of its life, and shows what it forgot."""

from continual_arcade.evaluation.callback import EvaluationCallback
from continual_arcade.evaluation.evaluator import Evaluator, Played, Policy
from continual_arcade.evaluation.matrix import Matrix, forgetting_matrix
from continual_arcade.evaluation.run_folder import RunFolder

__all__ = [
    "EvaluationCallback",
    "Evaluator",
    "Matrix",
    "Played",
    "Policy",
    "RunFolder",
    "forgetting_matrix",
]
