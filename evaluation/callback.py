"""Evaluations during training, as a Stable-Baselines3 callback."""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from continual_arcade.evaluation import costs, footprints, network_diagnostics
from continual_arcade.evaluation.atomic_files import write_whole
from continual_arcade.evaluation.costs import Cost
from continual_arcade.evaluation.evaluator import PhaseEvaluator, Played
from continual_arcade.evaluation.experience import KEEP
from continual_arcade.evaluation.external_runs import external_config
from continual_arcade.evaluation.footprints import Footprint, Measure
from continual_arcade.evaluation.network_diagnostics import Probe
from continual_arcade.evaluation.policies import Network, Policy, networks_of
from continual_arcade.evaluation.protocol import Protocol
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import append, read, rows
from continual_arcade.evaluation.timetable import Due, Timetable


class EvaluationCallback(BaseCallback):
    """Plays all phases before training, at phase ends and at an interval.

    An agent that keeps an average of its weights plays twice: by the average, which is what counts,
    and by the last weights.

    Each evaluation goes to the table of the run at once, and the agent is kept as a checkpoint, so
    that the table can be recomputed; next to it the statistics of its ``VecNormalize``, if it has
    one, as ``.pkl``. A folder without a configuration gets one, by which ``compare``, ``report``
    and ``Run.load`` read it like any other run.

    While an agent is trained, the callback holds the lock of the folder. Training ends at once with
    a ``LockedError`` if somebody else holds it, and with a ``ValueError`` if the table holds
    evaluations of steps that are still to come: they would be there twice.

    Args:
        evaluator: Plays the phases.
        timetable: When.
        folder: Where the tables and the checkpoints go; made when training begins, if it is not
            there.
        seed: Seed of the run.
        method: Name of the method, for the configuration; that of the algorithm if not given.
        settings: What is known of its settings, as plain data, for the configuration. Runs of a
            method whose settings differ are not put together.
        policy: Makes what is evaluated of the model, where that is not the model itself.
        probes: Measure the agent each time; their readings go to a table of their own.
        footprint: Says what the model holds, for a table of its own; nothing is written if not
            given.
        report: Called after each evaluation with the lifetime step and the result.

    Raises:
        ValueError: If the evaluator plays another schedule than the timetable is for, or the
            configuration would make no sense; when training begins, if the folder holds another
            run.
    """

    def __init__(
        self,
        evaluator: PhaseEvaluator[Any],
        timetable: Timetable,
        folder: RunFolder,
        *,
        seed: int,
        method: str | None = None,
        settings: Mapping[str, Any] | None = None,
        policy: Callable[[Any], Policy] = lambda model: model,
        probes: Sequence[Probe] = (),
        footprint: Measure | None = None,
        report: Callable[[int, Played], None] = lambda step, played: None,
    ) -> None:
        super().__init__()
        self.evaluator = evaluator
        self.timetable = timetable
        self.folder = folder
        self.seed = seed
        self.method = method
        self.settings = dict(settings or {})
        self.policy = policy
        self.probes = probes
        self.footprint = footprint
        self.report = report
        self.seconds = 0.0
        """What evaluation has cost since training began or was resumed [s]."""
        self.steps = 0
        """Evaluation steps since then."""
        self._last: Due | None = None
        self._trained_since = 0.0
        self._protocol = Protocol.of(evaluator, timetable)
        self._config(method or "unnamed", self.settings.get("num_envs", 1))  # raises early
        self._size = 0
        """What the table had after the last evaluation [bytes]."""

    def _config(self, method: str, num_envs: int) -> dict[str, Any]:
        return external_config(
            self._protocol,
            method=method,
            seed=self.seed,
            num_envs=num_envs,
            settings=self.settings,
        )

    def _describe(self) -> None:
        """Write down what is run, if that is not there yet.

        Raises:
            ValueError: If what is there is another run.
        """
        folder = self.folder
        if not (folder.path / "config.json").exists():
            method = self.method or type(self.model).__name__.lower()
            folder.write_config(self._config(method, self.training_env.num_envs))
        config = folder.read_config()
        different = Protocol.from_config(config).differences(self._protocol)
        if config["seed"] != self.seed:
            different.append(f"seed: {config['seed']} and {self.seed}")
        if different:
            raise ValueError(f"{folder.path} holds another run: {'; '.join(different)}")

    def _on_training_start(self) -> None:
        if not self.folder.path.exists():
            self.folder.make()
        self.folder.lock.acquire()
        try:
            self._describe()
            self._check_continues()
        except BaseException:
            self.folder.lock.release()
            raise
        self._trained_since = time.perf_counter()
        self._last = self.timetable.last_until(self.num_timesteps)
        if not self.num_timesteps:  # else training is resumed, and earlier steps were evaluated
            self._evaluate(self._last.stage)

    def _on_step(self) -> bool:
        due = self.timetable.last_until(self.num_timesteps)
        if due != self._last:
            self._last = due
            self._evaluate(due.stage)
        return True

    def _on_training_end(self) -> None:
        self.folder.lock.release()

    def next_due(self, num_timesteps: int) -> int | None:
        """Return the lifetime step at which there is something to evaluate next."""
        return self.timetable.next_after(num_timesteps)

    def _check_continues(self) -> None:
        """See that the table ends where training begins."""
        self._size = self._size_of_table()
        last, begins = -1, self.num_timesteps
        if self._size:
            last = int(read(self.folder.table)["lifetime_step"].max())
        if last > begins or (last >= 0 and not begins):
            raise ValueError(
                f"{self.folder.table} holds evaluations up to step {last:,}, and training begins "
                f"at step {begins:,}: give a new folder, or remove what comes after with "
                "evaluation.rewinding.rewind"
            )

    def _size_of_table(self) -> int:
        return self.folder.table.stat().st_size if self.folder.table.exists() else 0

    def _evaluate(self, trained_phase: int) -> None:
        begun = time.perf_counter()
        if self._size_of_table() != self._size:
            raise RuntimeError(
                f"{self.folder.table} was changed since the last evaluation: something else writes "
                "to the same run. Nothing more was written"
            )
        step = self.num_timesteps
        run, seed = self.folder.name, self.seed
        policy = self.policy(self.model)
        all_played: dict[Network, Played] = {
            network: self.evaluator.play(policy, KEEP if self.probes and not i else 0, network)
            for i, network in enumerate(networks_of(policy))
        }
        played = next(iter(all_played.values()))  # what it is evaluated by
        checkpoint = self.folder.save_checkpoint(step, self.model.save)
        normalizer = self.model.get_vec_normalize_env()
        if normalizer is not None:
            write_whole(checkpoint.with_suffix(".pkl"), lambda path: normalizer.save(str(path)))
        of_all = [
            rows(
                self.evaluator,
                each,
                run=run,
                seed=seed,
                step=step,
                trained_phase=trained_phase,
                network=network,
            )
            for network, each in all_played.items()
        ]
        append(self.folder.table, chain.from_iterable(of_all))
        self._size = self._size_of_table()
        if played.experience is not None:
            readings = [
                reading
                for probe in self.probes
                for reading in probe.measure(self.model, played.experience)
            ]
            network_diagnostics.append(
                self.folder.diagnostics,
                network_diagnostics.rows(
                    readings, run=run, seed=seed, step=step, trained_phase=trained_phase
                ),
            )
        ended = time.perf_counter()
        steps = sum(each.steps for each in all_played.values())
        cost = Cost(step, begun - self._trained_since, steps, ended - begun)
        costs.append(self.folder.costs, [cost])
        if self.footprint is not None:
            held = Footprint(step, **self.footprint(self.model))
            footprints.append(self.folder.footprints, [held])
        self._trained_since = ended
        self.seconds += ended - begun
        self.steps += steps
        self.report(step, played)
