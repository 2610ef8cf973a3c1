"""A real process for each loaded model, named as Ollama's are, so that who watches processes has some to watch."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from ops.simulator import runner_child
from ops.simulator.world import ModelCard

NAME = "llama-server"
START_S = 10.0


class RunnerProcess:
    """The process of one runner. Its name and its command line are those of Ollama's, with `--simulated` added.

    Args:
        folder: where the program of that name lies.
        card: the model.
        context: tokens.
        slots: requests at once.
    """

    def __init__(self, folder: Path, card: ModelCard, context: int, slots: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self._lock = threading.Lock()
        self.looked_at = 0.0  # monotonic; the last answer about slots
        words = [str(folder / NAME), "--model", blob_path(card), "--port", str(self.port), "--host", "127.0.0.1"]
        words += ["--ctx-size", str(context), "--parallel", str(slots), "--simulated"]
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, close_fds=True
        )
        threading.Thread(target=self._listen, name="runner", daemon=True).start()

    @property
    def pid(self) -> int:
        """Tell the process."""
        return self._process.pid

    def busy(self, running: int, share: float) -> None:
        """Say how many requests run, and what share of a core they use."""
        self._say(f"busy {running} {share}")

    def grow(self, size: int) -> None:
        """Keep one more prompt in memory."""
        if size > 0:
            self._say(f"grow {size}")

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()

    def _say(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            assert self._process.stdout is not None
            for _ in self._process.stdout:
                self.looked_at = time.monotonic()


class RunnerProgram:
    """The program that the processes run: a script of the real one's name, in a folder of its own."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="simulated-ollama-"))
        script = self.folder / NAME
        path = Path(runner_child.__file__).resolve()
        script.write_text(
            f"#!{sys.executable} -SEs\nimport runpy\nrunpy.run_path({str(path)!r}, run_name='__main__')\n",
            encoding="utf-8",
        )
        script.chmod(0o700)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def blob_path(card: ModelCard) -> str:
    """Name the model's file as Ollama does."""
    return f"/simulated/models/blobs/sha256-{card.blob}"
