"""How long a study takes to get over the loss of a machine: until it is noticed, and to its end.

Run it as ``python benchmarks/lost_machine.py``. A head without CPUs and two machines with one CPU
each are three of Ray's nodes on this machine, with Ray's own settings. One of them is lost in the
middle of a run: its processes are killed (the others are told at once that its connections are
closed), or they fall silent, as behind a cut cable.
"""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from measuring import machine
from ray.cluster_utils import Cluster

from continual_arcade.studies import study as studies
from continual_arcade.studies.folder import StudyFolder
from continual_arcade.studies.provenance import provenance
from continual_arcade.studies.ray_executor import RayExecutor
from continual_arcade.studies.running import run_all, to_do

RUNS = 4
STUDY = f"""
format = 1
name = "lost"
games = ["FlappyBird"]
schedules = ["conflict"]
phase_steps = 4_000
seeds = "0..{RUNS - 1}"
save_every = 1_000
references = []
[settings]
engine = "torch"
hidden = [32]
batch_size = 16
[evaluation]
every = 0
at_end = 1
episodes = 2
[methods]
finetune = {{}}
"""
_STORE = 80 * 1024 * 1024
"""Memory for objects that workers share [bytes]; there are none."""


def lose(how: str, folder: Path) -> Iterator[str]:
    """Run a study on two machines, of which one is lost; say when what happened.

    Args:
        how: ``killed`` or ``silent``.
        folder: Where the study is written.
    """
    (folder / "study.toml").write_text(STUDY, "utf-8")
    study = StudyFolder(folder / "lost")
    about = {"command": "lost_machine.py", "date": datetime.now(UTC).isoformat()}
    study.begin(studies.load(folder / "study.toml"), {**about, **provenance()})
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": _STORE}
    )
    try:
        lost, _ = (cluster.add_node(num_cpus=1, object_store_memory=_STORE) for _ in range(2))
        begun = time.perf_counter()
        executor = RayExecutor(address=cluster.address)
        running = threading.Thread(target=run_all, args=(study, executor, to_do(study)))
        running.start()
        raylet = lost.all_processes["raylet"][0].process.pid
        at = _until(lambda: _in_the_middle(study, raylet))
        yield f"the study began {time.perf_counter() - begun:.0f} s before"
        nodes = [raylet, *_descendants(raylet)]
        gone = time.perf_counter()
        if how == "killed":
            cluster.remove_node(lost, allow_graceful=False)
        else:
            for pid in nodes:
                os.kill(pid, signal.SIGSTOP)
        state: Any = cluster.global_state
        _until(lambda: sum(node["Alive"] for node in state.node_table()) == 2)
        yield f"noticed after {time.perf_counter() - gone:.1f} s"
        if how == "silent":
            # Its locks are free when the file server gives it up; here, when its processes end.
            cluster.remove_node(lost, allow_graceful=False)
            for pid in nodes:
                if Path(f"/proc/{pid}").exists():
                    os.kill(pid, signal.SIGKILL)
        _until(lambda: list(at.glob("progress_from_*")))
        yield f"its run was resumed after {time.perf_counter() - gone:.1f} s"
        running.join()
        yield f"all {RUNS} runs were finished after {time.perf_counter() - gone:.1f} s"
        assert set(study.states().values()) == {"finished"}
    finally:
        ray.shutdown()
        cluster.shutdown()


def _until(found: Callable[[], Any]) -> Any:
    while not (value := found()):
        time.sleep(0.02)
    return value


def _in_the_middle(study: StudyFolder, raylet: int) -> Path | None:
    """Return a run that a worker of a machine is at, and of which a state was kept."""
    for pid in _descendants(raylet):
        try:
            opened = [Path(os.readlink(link)) for link in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        for path in opened:
            state = path.parent / "checkpoints" / "training.zip"
            if path.name.startswith("progress") and state.exists():
                return path.parent
    return None


def _descendants(process: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.parent.name))
    found = [process]
    for pid in found:
        found += children.get(pid, [])
    return found[1:]


def main() -> None:
    """Measure, and print."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_worker_niceness", "0")
    print(machine(["ray"]))
    for how in ("killed", "silent"):
        with tempfile.TemporaryDirectory() as name:
            for line in lose(how, Path(name)):
                print(f"{how}: {line}", flush=True)


if __name__ == "__main__":
    main()
