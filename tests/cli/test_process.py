"""vidact as a process of its own: terminals, pipes and signals."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path

import pytest
from cli.runs import make_run, outcome

from vidact.cli._live import _fitting
from vidact.cli._output import Output
from vidact.cli._progress import Progress
from vidact.records import Video
from vidact.store.reader import Reader

HERE = os.pathsep.join(str(Path(__file__).resolve().parents[up]) for up in (1, 2))  # the tests, and this vidact

# The engine's stand-in: two clips for every video, one video every PACE seconds.
SLOW = """
import sys, time
import vidact.cli._live as live
import vidact.engine.run as engine
from cli.runs import outcome

pace, live.MINUTE, live.TICK = (float(number) for number in sys.argv[1:4])
del sys.argv[1:4]

def execute(prepared, sink, *, stop, progress, stage):
    stage("loading the model")
    for video in prepared.todo.videos:
        time.sleep(pace)
        if stop():
            return
        made = outcome(video)
        progress(2, 4.0)
        sink.add(made)
        yield made

engine.execute = execute
from vidact.cli.app import main
main()
"""


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("VIDACT_", "NO_COLOR", "COLUMNS"))
    }
    return {**kept, "PYTHONPATH": HERE, "TERM": "xterm-256color", **more}


def slow(pace: float, minute: float, tick: float, *arguments: object) -> list[str]:
    return [sys.executable, "-c", SLOW, *map(str, (pace, minute, tick)), *map(str, arguments)]


def on_a_terminal(command: Sequence[str], folder: Path, width: int) -> tuple[int, str]:
    """Run a command on a pseudo-terminal of so many columns; its exit code and all that the screen was sent."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    process = subprocess.Popen(command, cwd=folder, env=environment(), stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    said = b""
    while True:
        try:
            block = os.read(master, 65536)
        except OSError:  # Linux says so when the last writer is gone
            break
        if not block:
            break
        said += block
    os.close(master)
    return process.wait(), said.decode()


@pytest.mark.parametrize("width", [100, 40, 0])
def test_the_live_line(checkpoint: Path, videos: Path, tmp_path: Path, width: int) -> None:
    command = slow(0.3, 60, 0.05, "classify", videos, "--checkpoint", checkpoint)
    code, screen = on_a_terminal(command, tmp_path, width)
    assert code == 0
    live = [line for line in re.split(r"[\r\n]", screen) if re.match(r"\d/3 videos", line)]
    assert any(("0 failed" if width == 40 else "clips/s") in line for line in live)
    assert max(map(len, live)) < (width or 80)  # some terminals say 0: they do not know
    assert any(re.search(r"^0/3 videos.* loading the model, 0 s *$", line) for line in live), live
    assert not any(re.fullmatch(r"0/3 videos,? *", line) for line in live), live
    if width == 100:
        assert re.search(r"2/3 videos \|.*\| [\d.]+ clips/s, [\d.]+x real time, 0 failed, \d+:\d\d left", screen)
    assert "\r" + " " * ((width or 80) - 1) + "\r" in screen  # the last of the live line: whatever was typed is gone
    assert "3 of 3 videos done" in screen
    assert "\x1b[1mlabel" in screen


def test_who_stops_is_told_what_is_waited_for() -> None:
    progress = Progress(Output(quiet=True), [Video(f"{number}.mp4", "", 1, 1) for number in range(99999)])
    progress.clips(4, 2.0)
    progress.stopping = True
    assert progress.line() == "0/99999 videos, finishing what is on its way, Ctrl-C again ends it now"
    assert len(progress.line()) < 80


def test_a_narrow_terminal_keeps_whole_parts_and_what_failed() -> None:
    told = ["176.3 clips/s", "37.1x real time", "12 failed", "0:10 left"]
    assert _fitting("12/24 videos", told, 80) == "12/24 videos, 176.3 clips/s, 37.1x real time, 12 failed, 0:10 left"
    assert _fitting("12/24 videos", told, 60) == "12/24 videos, 37.1x real time, 12 failed, 0:10 left"
    assert _fitting("12/24 videos", told, 40) == "12/24 videos, 12 failed, 0:10 left"
    assert _fitting("12/24 videos", ["finishing what is on its way"], 36) == "12/24 videos, finishing what is on"
    assert _fitting("12/24 videos", told, 5) == "12/2"


def test_the_live_rate_is_that_of_the_summary(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    videos = [outcome(f"{number}.mp4") for number in range(2)]
    progress = Progress(Output(quiet=True), [made.video for made in videos])
    now += 6  # the start
    progress.clips(20, 40.0)
    now += 2
    progress.video(videos[0])
    assert progress.line() == "1/2 videos, 2.5 clips/s, 5.0x real time, 0 failed, 0:02 left"
    assert progress.summary().endswith("20 clips, 5.0x real time")


def test_without_a_terminal_a_plain_line_now_and_then(checkpoint: Path, videos: Path, tmp_path: Path) -> None:
    command = slow(0.3, 0.2, 0.05, "classify", videos, "--checkpoint", checkpoint)
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    lines = [line for line in done.stderr.splitlines() if "/3 videos, " in line]
    assert len(lines) >= 2
    assert "0/3 videos, loading the model, 0 s" in lines
    form = r"2/3 videos, [\d.]+ clips/s, [\d.]+x real time, 0 failed, \d+:\d\d left"
    assert any(re.fullmatch(form, line) for line in lines), lines
    assert all(line.isprintable() for line in (done.stdout + done.stderr).replace("\t", "").split("\n"))


def test_quiet_is_quiet_on_a_terminal_too(checkpoint: Path, videos: Path, tmp_path: Path) -> None:
    command = slow(0.1, 60, 0.05, "classify", videos, "--checkpoint", checkpoint, "--quiet")
    assert on_a_terminal(command, tmp_path, 80) == (0, "")


def test_sigterm(checkpoint: Path, videos: Path, tmp_path: Path) -> None:
    command = slow(1, 0.1, 0.05, "classify", videos, "--checkpoint", checkpoint)
    process = subprocess.Popen(command, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = ""
    while "1/3 videos" not in said:
        said = process.stderr.readline()
        assert said
    process.send_signal(signal.SIGTERM)
    rest = process.stderr.read()
    assert process.wait() == 143
    assert "Stopped" in rest
    assert Reader(str(tmp_path / "vidact-out")).videos().num_rows >= 1


def test_ctrl_c_while_the_command_line_is_imported() -> None:
    code = (
        "import sys\nfrom vidact.__main__ import main\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'vidact.cli.app': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\nmain()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"], cwd=folder, env=environment(), capture_output=True, text=True
    )


def test_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    make_run(tmp_path / "out", [outcome(f"{'x' * 100}/{number}.mp4", clips=100) for number in range(20)])
    for more in ("--clips", "--clips --json"):
        done = shell(f"{sys.executable} -m vidact show out {more} | head -1", tmp_path)
        assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)


def test_a_closed_pipe_ends_a_run_quietly(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for number in range(2000):
        (tmp_path / "many" / f"{number}.mp4").write_bytes(b"")
    (tmp_path / "slow.py").write_text(SLOW)
    command = f"{sys.executable} slow.py 0 60 0.5 classify many --checkpoint {checkpoint} -o - --quiet"
    done = shell(f"{command} | head -1", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["table"] == "predictions"


def test_an_idle_rerun_loads_neither_torch_nor_ray(checkpoint: Path, videos: Path, tmp_path: Path) -> None:
    arguments = ("classify", videos, "--checkpoint", checkpoint)
    subprocess.run(slow(0, 60, 0.5, *arguments), cwd=tmp_path, env=environment(), capture_output=True, check=True)
    code = (
        "import sys\nfrom vidact.cli import app\n"
        "def leave(code):\n    print([name for name in ('torch', 'ray', 'av', 'decord') if name in sys.modules])\n"
        "app._leave = leave\napp.main()\n"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert "Nothing to do." in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_names_print_whatever_the_locale(tmp_path: Path) -> None:
    make_run(tmp_path / "out", [outcome("é日本👍.mp4")])
    for locale in ({"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}):
        command = [sys.executable, "-m", "vidact", "show", "out"]
        done = subprocess.run(command, cwd=tmp_path, env=environment(**locale), capture_output=True, check=True)
        assert done.stdout.startswith(b"\\xe9\\u65e5")


def test_closed_streams_are_no_error(tmp_path: Path) -> None:
    """A daemon or a cron job may have closed them; nothing may end up in our files instead."""
    called = f'"{sys.executable}" -m vidact models list'
    for closed in (">&-", "2>&-", ">&- 2>&- <&-"):
        done = subprocess.run(["bash", "-c", f"{called} {closed}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (closed, done.stderr)


def test_behind_a_run_the_interpreter_is_not_taken_down(tmp_path: Path) -> None:
    code = (
        "import atexit, os, sys, types\n"
        "from vidact.cli.app import main\n"
        "sys.modules['ray'] = types.ModuleType('ray')\n"
        "atexit.register(os.abort)\n"
        "sys.argv = ['vidact', *sys.argv[1:]]\n"
        "main()\n"
    )
    for arguments, ending in ((["--version"], 0), (["show", "nowhere"], 4)):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=tmp_path)
        assert (done.returncode, bool(done.stdout), bool(done.stderr)) == (ending, ending == 0, ending != 0)
