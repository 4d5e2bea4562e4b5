"""The evaluator replays every phase of training with an agent, and measures forgetting."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from continual_arcade.evaluation.evaluator import Evaluator, PhaseEvaluator, Played
from continual_arcade.evaluation.experience import Experience
from continual_arcade.evaluation.gym_evaluator import GymEvaluator
from continual_arcade.evaluation.policies import FunctionPolicy, Policy
from continual_arcade.evaluation.protocol import EvaluationSettings, Protocol
from continual_arcade.evaluation.timetable import Timetable

if TYPE_CHECKING:
    from continual_arcade.evaluation.callback import EvaluationCallback
    from continual_arcade.evaluation.matrix import Matrix, forgetting_matrix
    from continual_arcade.evaluation.network_diagnostics import Probe, Reading
    from continual_arcade.evaluation.record import Record
    from continual_arcade.evaluation.reference_files import shipped_references
    from continual_arcade.evaluation.references import Reference, References, Scale
    from continual_arcade.evaluation.replaying import Replayed, replay_phases
    from continual_arcade.evaluation.run_folder import RunFolder
    from continual_arcade.evaluation.runs import Comparison, Gathered, Group, Run, gather

__all__ = [
    "Comparison",
    "EvaluationCallback",
    "EvaluationSettings",
    "Evaluator",
    "Experience",
    "FunctionPolicy",
    "Gathered",
    "Group",
    "GymEvaluator",
    "Matrix",
    "PhaseEvaluator",
    "Played",
    "Policy",
    "Probe",
    "Protocol",
    "Reading",
    "Record",
    "Reference",
    "References",
    "Replayed",
    "Run",
    "RunFolder",
    "Scale",
    "Timetable",
    "forgetting_matrix",
    "gather",
    "replay_phases",
    "shipped_references",
]

_LOADED_WHEN_USED = {
    "Comparison": "runs",
    "EvaluationCallback": "callback",
    "Gathered": "runs",
    "Group": "runs",
    "Matrix": "matrix",
    "Probe": "network_diagnostics",
    "Reading": "network_diagnostics",
    "Record": "record",
    "Reference": "references",
    "References": "references",
    "Replayed": "replaying",
    "Run": "runs",
    "RunFolder": "run_folder",
    "Scale": "references",
    "forgetting_matrix": "matrix",
    "gather": "runs",
    "replay_phases": "replaying",
    "shipped_references": "reference_files",
}
"""What needs PyTorch, pandas or SciPy, which take their time to load, and the module it is in."""


def __getattr__(name: str) -> Any:
    if name not in _LOADED_WHEN_USED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_LOADED_WHEN_USED[name]}")
    return getattr(module, name)
