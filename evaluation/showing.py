"""What is shown of a run: the forgetting matrix and the curves, on the terminal and as pictures."""

from pathlib import Path

from rich.console import Console

from continual_arcade.envs.games import make_game
from continual_arcade.evaluation.figures import draw_curves, draw_matrix
from continual_arcade.evaluation.matrix import as_text, forgetting_matrix
from continual_arcade.evaluation.protocol import Protocol
from continual_arcade.evaluation.record import Record
from continual_arcade.evaluation.run_folder import RunFolder
from continual_arcade.evaluation.table import read


def show(folder: RunFolder, table: Path, console: Console) -> None:
    """Print the matrix of a run and draw it and its curves beside the table.

    Args:
        folder: The run.
        table: The tidy table to show: the run's own, or one that was computed again.
        console: Where to print.

    Raises:
        ValueError: If the table or the configuration is damaged.
    """
    config = folder.read_config()
    protocol = Protocol.from_config(config)
    schedule = protocol.schedule
    points = make_game(config["game"]).points
    rows = read(table)
    record = Record.from_table(rows, schedule, at_end=protocol.judging.at_end)
    matrix = forgetting_matrix(record)
    console.print(as_text(matrix, points))
    title = f"{config['game']}, {schedule.name}, {config['method']}, seed {config['seed']}"
    draw_matrix(matrix, points, title, table.with_name("matrix.png"))
    draw_curves(rows, schedule, points, title, table.with_name("curves.png"))
    console.print(f"drawn in matrix.png and curves.png beside {table}")
