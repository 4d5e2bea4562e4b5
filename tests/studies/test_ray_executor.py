import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster
from small_studies import made

from continual_arcade.agents.files.state_files import load_state
from continual_arcade.scripts import study as command
from continual_arcade.studies import ray_executor
from continual_arcade.studies import study as studies
from continual_arcade.studies.executors import LocalExecutor, WorkerDiedError
from continual_arcade.studies.folder import StudyFolder, count
from continual_arcade.studies.ray_executor import TRIES, RayExecutor
from continual_arcade.studies.running import Summary, run_all, to_do
from continual_arcade.studies.work import Job

# Old versions of Ray leave their own logs open.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*/ray/session_:pytest.PytestUnraisableExceptionWarning"
)

# Some seconds on one core: time enough to be caught in the middle.
STUDY = """
format = 1
name = "tiny"
games = ["FlappyBird"]
schedules = ["conflict"]
phase_steps = {steps}
seeds = "{seeds}"
save_every = 400
references = []
[settings]
engine = "torch"
hidden = [8]
batch_size = 16
gradient_steps = 4
buffer_size = 200
learning_starts = 32
[evaluation]
every = 0
at_end = 1
episodes = 2
[methods]
finetune = {{}}
"""
ANSWER = 60.0
"""How long something may take that happens at once [s]; tests fail then, instead of hanging."""
STORE = 80 * 1024 * 1024


def file_of(folder: Path, seeds: str, steps: int = 1_000) -> Path:
    path = folder / "tiny.toml"
    path.write_text(STUDY.format(seeds=seeds, steps=steps), "utf-8")
    return path


def begun(root: Path, seeds: str, steps: int = 1_000) -> StudyFolder:
    root.mkdir(exist_ok=True)
    study = studies.load(file_of(root, seeds, steps))
    folder = StudyFolder(root / study.name)
    folder.begin(study, made())
    return folder


def ran(folder: StudyFolder, executor: Any) -> Summary:
    return run_all(folder, executor, to_do(folder))


def tables(folder: StudyFolder) -> dict[str, bytes]:
    return {
        cell.name: (folder.place(cell) / "evaluations.csv").read_bytes() for cell in folder.cells
    }


def until(found: Callable[[], Any]) -> Any:
    end = time.monotonic() + ANSWER
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.01)
    raise TimeoutError("it did not happen")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """One machine with one CPU; tests let others join it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A lost machine is noticed at once, and workers do not give way to whatever else is computed.
    configuration = {
        "health_check_period_ms": 250,
        "health_check_initial_delay_ms": 250,
        "worker_niceness": 0,
    }
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 1,
            "object_store_memory": STORE,
            "_system_config": configuration,
        },
    )
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


@contextmanager
def another_machine(cluster: Cluster, **environment: str) -> Iterator[Any]:
    node = cluster.add_node(num_cpus=1, object_store_memory=STORE, env_vars=environment)
    try:
        yield node
    finally:
        if node in cluster.worker_nodes:
            cluster.remove_node(node, allow_graceful=False)
        alone_again(cluster)


def alone_again(cluster: Cluster) -> None:
    until(lambda: sum(node["Alive"] for node in cluster.global_state.node_table()) == 1)


def raylet_of(node: Any) -> int:
    return int(node.all_processes["raylet"][0].process.pid)


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def at_work(folder: StudyFolder) -> Iterator[tuple[int, Path]]:
    """Processes, and the runs that they are at: those that have a file of theirs open."""
    runs = folder.path.absolute() / "runs"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            opened = {Path(os.readlink(link)) for link in (process / "fd").iterdir()}
        except OSError:
            continue
        for path in opened:
            if path.name.startswith("progress") and path.is_relative_to(runs):
                yield int(process.name), path.parent


@contextmanager
def caught(folder: StudyFolder, where: Callable[[int], bool]) -> Iterator[tuple[Path, int]]:
    """Stop a worker in the middle of its run, and kill it in the end.

    The run was not resumed before; with it comes the step of the state that is kept of it.
    """

    def look() -> tuple[int, Path] | None:
        for pid, run in at_work(folder):
            state = run / "checkpoints" / "training.zip"
            if where(pid) and state.exists() and not list(run.glob("progress_from_*")):
                return pid, run
        return None

    pid, run = until(look)
    os.kill(pid, signal.SIGSTOP)
    try:
        yield (
            run,
            load_state(run / "checkpoints" / "training.zip", "agent")["counters"]["num_timesteps"],
        )
    finally:
        os.kill(pid, signal.SIGKILL)
        until(lambda: pid not in dict(at_work(folder)))


@pytest.mark.slow
def test_neither_a_killed_worker_nor_a_lost_machine_changes_a_number(
    cluster: Cluster, tmp_path: Path
) -> None:
    expected = begun(tmp_path / "expected", "0..2")
    assert not ran(expected, LocalExecutor(1)).failures
    folder = begun(tmp_path / "cluster", "0..2")

    with another_machine(cluster) as lost, ThreadPoolExecutor(1) as pool:

        def sabotage() -> list[tuple[Path, int]]:
            there = raylet_of(lost)
            with caught(folder, lambda pid: parent(pid) != there) as first:
                pass
            with caught(folder, lambda pid: parent(pid) == there) as second:
                cluster.remove_node(lost, allow_graceful=False)
            return [first, second]

        done = pool.submit(sabotage)
        summary = ran(folder, RayExecutor(address=cluster.address))
        harmed = done.result()

    assert (summary.finished, summary.failures) == (3, ())
    assert tables(folder) == tables(expected)
    for run, step in harmed:
        # It was resumed from the state that was kept last, and from nowhere else.
        assert [path.name for path in run.glob("progress_from_*")] == [
            f"progress_from_{step:012d}.csv"
        ]
    assert len({run for run, _ in harmed}) == 2
    assert len(list(folder.path.glob("runs/*/progress_from_*"))) == 2
    assert not list(folder.path.glob("runs/.cluster-*"))


@pytest.mark.slow
def test_a_machine_that_joins_gets_runs(cluster: Cluster, tmp_path: Path) -> None:
    folder = begun(tmp_path, "0..2")
    executor = RayExecutor(address=cluster.address)
    with ThreadPoolExecutor(1) as pool:
        summary = pool.submit(ran, folder, executor)
        until(lambda: list(at_work(folder)))
        with another_machine(cluster) as new:
            there = raylet_of(new)
            until(lambda: [pid for pid, _ in at_work(folder) if parent(pid) == there])
            assert summary.result().finished == 3


def jobs_of(folder: StudyFolder) -> Iterator[Job]:
    about = folder.about[0]
    for cell in folder.cells:
        yield Job(cell.name, folder.place(cell), cell.make().to_config(), about)


@pytest.mark.slow
def test_runs_are_taken_when_there_is_room_for_them(cluster: Cluster, tmp_path: Path) -> None:
    folder = begun(tmp_path, "0..2", steps=40)
    taken: list[str] = []

    def noted() -> Iterator[Job]:
        for job in jobs_of(folder):
            taken.append(job.name)
            yield job

    beforehand = []
    for _ in RayExecutor(address=cluster.address).outcomes(noted()):
        beforehand.append(len(taken))
    assert beforehand == [1, 2, 3]


@pytest.mark.slow
def test_a_run_over_which_workers_die_again_and_again_is_named(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = begun(tmp_path, "0..1")
    first, second = jobs_of(folder)
    killed = 0
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(list, RayExecutor(address=cluster.address).outcomes([first, second]))
        while not result.done():
            for pid, run in at_work(folder):
                if run == first.folder and parent(pid) != 1:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
                    until(lambda pid=pid: not Path(f"/proc/{pid}").exists())
            time.sleep(0.01)
        with pytest.raises(WorkerDiedError, match=f"died {TRIES} times over {first.name}; the las"):
            result.result()
    assert killed == TRIES
    assert not second.folder.exists()


def stopped(folder: StudyFolder, executor: Any) -> str:
    """Why a study stopped over its first failures; the rest waits, and nothing else happened.

    A second run may have been handed out before the first one was known to have failed.
    """
    failures = ran(folder, executor).failures
    found = count(folder.states())
    assert (found["failed"], found["missing"], found["begun"]) == (len(failures), 0, 0)
    assert 1 <= len(failures) <= 2 < found["waiting"]
    assert {failed.run for failed in failures} <= {cell.name for cell in to_do(folder)}
    return failures[0].reason


def other_versions(folder: Path) -> str:
    info = folder / "numpy-0.0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
    return r"this worker \(.*\) has other versions .* numpy 0\.0\.1 instead of"


def broken_libraries(folder: Path) -> str:
    folder.mkdir()
    (folder / "torch.py").write_text("raise ImportError('there is no torch here')", "utf-8")
    return r"worker [\d.]+ cannot begin \(ImportError: there is no torch here\): is the suite"


@pytest.mark.parametrize(
    "install",
    [
        pytest.param(other_versions, marks=pytest.mark.slow),
        pytest.param(broken_libraries, marks=pytest.mark.slow),
    ],
)
def test_a_machine_that_is_unfit_stops_the_study_and_loses_nothing(
    install: Callable[[Path], str], cluster: Cluster, tmp_path: Path
) -> None:
    message = install(tmp_path / "libraries")
    folder = begun(tmp_path / "study", "0..19")
    with another_machine(cluster, PYTHONPATH=str(tmp_path / "libraries")):
        assert re.search(message, stopped(folder, RayExecutor(address=cluster.address)))


def can_hide_folders() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


def test_a_worker_without_the_folder_trains_nothing(tmp_path: Path) -> None:
    (job,) = jobs_of(begun(tmp_path, "0", steps=40))
    outcome = ray_executor._train(job, "no-such-landmark")
    assert (outcome.state, outcome.fatal) == ("failed", True)
    assert f"the folder {job.folder.parent} of the study is not there on worker" in outcome.reason
    assert not job.folder.exists()


@pytest.mark.slow
@pytest.mark.skipif(not can_hide_folders(), reason="only root may hide folders from processes")
def test_a_machine_without_the_folder_stops_the_study_and_loses_nothing(
    cluster: Cluster, tmp_path: Path
) -> None:
    folder = begun(tmp_path, "0..19")
    here = folder.path / "runs"
    start = (
        f"mount -t tmpfs none '{here}' && exec '{Path(sys.executable).parent}/ray' start "
        f"--address={cluster.address} --num-cpus=1 --object-store-memory={STORE} --block"
    )
    nodes = len(cluster.global_state.node_table())
    executor = RayExecutor(address=cluster.address)
    with subprocess.Popen(
        ["unshare", "-m", "sh", "-c", start],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as elsewhere:
        try:
            until(lambda: len(cluster.global_state.node_table()) > nodes)
            reason = stopped(folder, executor)
        finally:
            elsewhere.terminate()
    alone_again(cluster)
    assert f"the folder {here} of the study is not there on worker" in reason


def test_the_command_runs_a_study_on_a_cluster(
    cluster: Cluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On one thread in each worker, and in a folder that is relative to that of the command."""
    monkeypatch.chdir(tmp_path)
    file = file_of(tmp_path, "0..1", steps=200)
    where = ["--cluster", "ray", "--address", cluster.address]
    folder = StudyFolder(tmp_path / "tiny")

    def of_worker() -> list[bytes]:
        ((pid, _),) = until(lambda: list(at_work(folder)))
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")

    with ThreadPoolExecutor(1) as pool:
        environment = pool.submit(of_worker)
        command.main(["run", file.name, "--out", ".", *where])
        assert b"OMP_NUM_THREADS=1" in environment.result()
    assert "all 2 runs are finished" in capsys.readouterr().out
    command.main(["verify", "tiny", "--share", "1", *where])
    assert capsys.readouterr().out.count("same bits") == 2


def study_command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "continual_arcade.scripts.study", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=ANSWER * 3,
    )


@pytest.mark.slow
@pytest.mark.parametrize("joined", [False, True], ids=["alone", "RAY_ADDRESS"])
def test_the_command_alone_says_nothing_but_what_it_has_to_say(
    joined: bool, cluster: Cluster, tmp_path: Path
) -> None:
    file = file_of(tmp_path, "0", steps=40)
    environment = {"RAY_ADDRESS": cluster.address} if joined else {}
    jobs = [] if joined else ["--jobs", "1"]
    ended = study_command(
        "run", str(file), "--out", str(tmp_path), "--cluster", "ray", *jobs, **environment
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "all 1 runs are finished" in ended.stdout


def test_what_makes_no_sense_is_refused(
    cluster: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = file_of(tmp_path, "0", steps=40)
    common = ["run", str(file), "--out", str(tmp_path)]
    for arguments, message in (
        (["--address", "auto"], "address = 'auto' is for --cluster ray"),
        (["--cluster", "ray", "--jobs", "0"], "jobs = 0 must be at least 1"),
        (["--cluster", "ray", "--address", "ray://x:1"], "a study is run on a machine of the clus"),
    ):
        with pytest.raises(SystemExit):
            command.main([*common, *arguments])
        assert message in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()


def test_another_cluster_than_the_one_that_is_connected_is_refused(cluster: Cluster) -> None:
    list(RayExecutor(address=cluster.address).outcomes([]))
    with pytest.raises(ValueError, match="is connected to the Ray at"):
        list(RayExecutor(address="192.0.2.1:6379").outcomes([]))


@pytest.mark.slow
def test_without_ray_the_way_to_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('no ray here')", "utf-8")
    file = file_of(tmp_path, "0", steps=40)
    common = ["run", str(file), "--out", str(tmp_path), "--dry-run"]
    code = (
        "import sys; from continual_arcade.scripts import study, study_commands; "
        "from continual_arcade.scripts.cli import run; "
        "assert 'ray' not in sys.modules; study.main(sys.argv[1:])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *common[:-1], "--cluster", "ray"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert "pip install 'continual-arcade[cluster]'" in ended.stderr


LISTENS = """
import ipaddress, os, socket, sys
from contextlib import nullcontext
from pathlib import Path
import ray
from continual_arcade.studies import ray_executor

if sys.argv[1] == "everywhere":
    ray_executor._on_loopback = nullcontext
ray_executor._connect(1, None)
ray.get(ray.remote(lambda: 0).remote())  # so that there is a worker
children = {}
for stat in Path("/proc").glob("[0-9]*/stat"):
    children.setdefault(int(stat.read_text().rpartition(")")[2].split()[1]), []).append(stat.parent)
family, found = [Path(f"/proc/{os.getpid()}")], {}
for process in family:
    family += children.get(int(process.name), [])
    for link in (process / "fd").iterdir():
        try:
            found[os.readlink(link)] = (process / "comm").read_text().strip()
        except FileNotFoundError:
            pass
for table in ("tcp", "tcp6"):
    for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
        _, local, _, state, *_, inode = line.split()[:10]
        if state == "0A" and f"socket:[{inode}]" in found:
            digits = local.partition(":")[0]
            words = [bytes.fromhex(digits[i : i + 8])[::-1] for i in range(0, len(digits), 8)]
            address = ipaddress.ip_address(b"".join(words))
            address = getattr(address, "ipv4_mapped", None) or address
            print("loopback" if address.is_loopback else address, found[f"socket:[{inode}]"])
"""


@pytest.mark.slow
@pytest.mark.parametrize("where", ["loopback", "everywhere"])
def test_a_ray_for_this_machine_alone_is_not_reached_from_others(
    where: str, tmp_path: Path
) -> None:
    """The sockets on which its processes listen, as the kernel lists them."""
    environment = {name: text for name, text in os.environ.items() if name != "RAY_ADDRESS"}
    ended = subprocess.run(
        [sys.executable, "-c", LISTENS, where],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=ANSWER * 3,
        check=True,
    )
    addresses = [line.split() for line in ended.stdout.splitlines()]
    # The command itself, the head's two, the machine's two, the environments', and the worker.
    assert {"gcs_server", "raylet"} <= {name for _, name in addresses}
    assert len(addresses) >= 5
    if where == "loopback":
        assert {address for address, _ in addresses} == {"loopback"}
    else:  # so it would be
        assert "::" in {address for address, _ in addresses}
