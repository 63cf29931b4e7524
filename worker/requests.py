"""What the page asks of a running trainer: a file for each wish, put there by the supervisor, looked for at each step."""

from pathlib import Path

from tunescope.wire import TrainerRequest

FOLDER = "requests"


def ask(attempt_dir: Path, wish: TrainerRequest) -> None:
    """Leave a wish for the trainer of this attempt; a second one before it was seen changes nothing."""
    folder = attempt_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    (folder / wish).touch()


def take(attempt_dir: Path, wish: TrainerRequest) -> bool:
    """Whether the wish was made since it was last taken. One system call where it was not."""
    try:
        (attempt_dir / FOLDER / wish).unlink()
    except OSError:
        return False
    return True
