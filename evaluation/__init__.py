"""The judge: plays an agent in every phase of its life, and shows what it forgot."""

from continual_arcade.evaluation.callback import EvaluationCallback
from continual_arcade.evaluation.diagnostics import Probe, Reading
from continual_arcade.evaluation.evaluator import Evaluator, Played, Policy
from continual_arcade.evaluation.experience import Experience
from continual_arcade.evaluation.matrix import Matrix, forgetting_matrix
from continual_arcade.evaluation.run_folder import RunFolder

__all__ = [
    "EvaluationCallback",
    "Evaluator",
    "Experience",
    "Matrix",
    "Played",
    "Policy",
    "Probe",
    "Reading",
    "RunFolder",
    "forgetting_matrix",
]
