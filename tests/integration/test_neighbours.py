"""Other users' names and files, full disks, jobs that wreck what is theirs, sick GPUs, and a job's own environment."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from remote_agent import bootstrap
from remote_agent.backends import local
from remote_agent.gpu import claims
from remote_agent.gpu.inventory import Gpu, parse, parse_amd, parse_processes, parse_rocm, with_lost
from remote_agent.gpu.source import GpuSource
from remote_agent.protocol.ends import AttemptEnd, Usage
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.states import EndReason
from remote_agent.storage import files
from remote_agent.storage.paths import Paths
from remote_agent.supervisor import exit_record
from remote_agent.system import processes, unix_sockets
from tests.support import agents
from tests.support.client import FOUNDATIONS, Client, wait_until

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="another user is needed")
NOBODY = 65534

# --- names ------------------------------------------------------------------------------------------------------


class Squatter:
    """Another user's process that holds names."""

    def __init__(self, names: list[bytes], listens: bool = False, fills: bool = False) -> None:
        code = (
            "import os, socket, sys, time\n"
            f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
            "held = []\n"
            f"for name in {names!r}:\n"
            "    one = socket.socket(socket.AF_UNIX); one.bind(name); held.append(one)\n"
            f"    if {listens or fills}: one.listen(0)\n"
            f"    if {fills}:\n"
            "        for _ in range(2):\n"
            "            other = socket.socket(socket.AF_UNIX); other.setblocking(False); held.append(other)\n"
            "            other.connect_ex(name)\n"
            "print('ready', flush=True); time.sleep(600)\n"
        )
        self._process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert self._process.stdout is not None and self._process.stdout.readline() == b"ready\n"

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.mark.slow
@needs_root
@pytest.mark.parametrize("how", ["bound", "listens", "full backlog", "all names"])
def test_another_users_names_shut_nobody_out(client: Client, how: str) -> None:
    names = Paths(str(client.home / "agent")).socket_names()
    squatter = Squatter(names if how == "all names" else names[:1], how == "listens", how == "full backlog")
    try:
        job = client.submit("--", "sleep", "60", timeout=40)
        client.wait_until(job, "running")
        assert client.json("jobs", "--sync")[0]["state"] == "running"
    finally:
        squatter.end()
    assert client.json("jobs", "--sync")[0]["state"] == "running", "and when the name is given up again"
    client.run("stop", "--grace", "0", job)
    client.run("wait", job, code=None)
    agents.kill_daemon(client.home / "agent")
    client.run("submit", "--wait", "--", "true")


def test_a_backlog_of_our_own_that_is_full_is_waited_for_only_a_moment() -> None:
    name = b"\0foundations-test-" + os.urandom(6).hex().encode()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(name)
    listener.listen(0)
    held = [socket.socket(socket.AF_UNIX) for _ in range(3)]
    for one in held:
        one.setblocking(False)
        one.connect_ex(name)
    began = time.monotonic()
    assert unix_sockets.connect([name], socket.SOCK_STREAM) is None and time.monotonic() - began < 5
    for one in [listener, *held]:
        one.close()


# --- claims and roots -------------------------------------------------------------------------------------------


def test_a_claim_is_written_through_nothing_that_lies_there(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    one = claims.GpuClaims(str(tmp_path / "root"), str(folder))
    os.mkfifo(folder / f".{one._mark}-{os.getpid()}")
    one.hold({"GPU-1": "job1"})
    assert [name for name in os.listdir(folder) if name.endswith(".json")] == [f"GPU-1.{one._mark}.json"]


@needs_root
def test_thousands_of_claims_hide_only_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "claims"
    ours = claims.GpuClaims(str(tmp_path / "root"), str(folder))
    other = claims.GpuClaims(str(tmp_path / "other"), str(folder))
    other.hold({"GPU-real": "job1"})
    for number in range(3000):
        path = folder / f"GPU-{number}.{NOBODY}-{number:08x}.json"
        path.write_text("{}")
        os.chown(path, NOBODY, NOBODY)
    assert list(ours.others()) == ["GPU-real"] and "yours" in ours.others()["GPU-real"]


@needs_root
def test_a_false_root_is_told_with_its_owner(tmp_path: Path) -> None:
    false = tmp_path / "false"
    false.mkdir()
    os.chown(false, NOBODY, NOBODY)
    with pytest.raises(OSError, match=f"belongs to uid {NOBODY}"):
        bootstrap.own_folder(str(false))
    (tmp_path / "mine").mkdir(0o755)
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="is a link"):
        bootstrap.own_folder(str(tmp_path / "link"))
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(OSError, match="others may write"):
        bootstrap.own_folder(str(tmp_path / "open"))
    bootstrap.own_folder(str(tmp_path / "mine"))
    assert (tmp_path / "mine").stat().st_mode & 0o777 == 0o755


# --- full disks -------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    agents.end(folder / "root")  # once the disk is gone, nobody finds what runs there
    subprocess.run(["umount", "-l", folder], check=False)


@needs_root
def test_a_full_disk_keeps_nobody_from_looking_stopping_and_pruning(client: Client, small: Path) -> None:
    root = small / "root"
    client.roots.append(root)
    (client.home / "hosts.toml").write_text(f'[hosts.local]\nroot = "{root}"\nmax_jobs = 4\n')
    done = client.submit("--", "sh", "-c", "head -c 3000000 /dev/zero > made; echo said")
    client.run("wait", done)
    running = client.submit("--", "sleep", "600")
    client.wait_until(running, "running")
    for _ in range(3):
        with (root / "fill").open("ab") as file:
            try:
                while True:
                    os.write(file.fileno(), b"x" * 4096)
            except OSError:
                pass
        agents.kill_daemon(root)
        assert client.json("jobs", "--sync", timeout=40)[0]["state"] == "running"
        client.run("hosts", "test", "local", timeout=40)
    assert client.run("logs", done).stdout == "said\n"
    client.run("stop", running, "--grace", "0", timeout=40)
    wait_until(lambda: client.job(running)["state"] == "stopped")
    assert client.json("prune", done, "--force", "--yes", timeout=40)[0]["removed"]


# --- jobs that wreck what is theirs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("rm -rf ../../../../$FOUNDATIONS_JOB_ID; sleep 600", "failed"),
        ("cd ..; rm -rf $PWD; sleep 600", "failed"),
        ("mkdir ../exit.json; mkdir ../exit.json/x; exit 3", "failed"),
        ("rm -rf ..; exit 3", "failed"),
        ("chmod 0 ..; exit 3", "failed"),
    ],
)
def test_a_job_that_wrecks_its_folder_is_ended_and_told(client: Client, code: str, state: str) -> None:
    job = client.submit("--", "sh", "-c", code)
    began = time.monotonic()
    client.wait_until(job, state, 30)
    assert time.monotonic() - began < 25
    client.run("submit", "--wait", "--", "true")


@pytest.mark.rest
def test_a_supervisor_that_is_stopped_holds_no_slot(client: Client) -> None:
    code = "import os, signal, time\nwhile True:\n    os.kill(os.getppid(), signal.SIGSTOP); time.sleep(0.01)\n"
    job = client.submit("--", "python", "-c", code)
    client.wait_until(job, "lost", 60)
    assert "SIGSTOP" in client.job(job)["reason"]
    assert processes.members_of_attempt(_token(client, job), None) == []
    client.run("submit", "--wait", "--", "true")


def _token(client: Client, job: str) -> str:
    return str(json.loads((client.home / f"agent/jobs/{job}/attempts/1/supervisor.json").read_text())["token"])


def test_a_supervisor_that_is_stopped_once_goes_on(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "sleep 1; kill -STOP $PPID; sleep 1; exit 5")
    assert client.run("wait", job, code=None, timeout=60).code == 5


def test_a_forged_exit_record_is_not_believed(client: Client) -> None:
    code = """echo '{"reason_code": "finished", "reason": "x", "exit_code": 0}' > ../exit.json; sleep 600"""
    job = client.submit("--", "sh", "-c", code)
    client.wait_until(job, "running")
    agents.kill_daemon(client.home / "agent")
    time.sleep(0.5)
    assert client.job(job)["state"] == "running"
    client.run("stop", "--grace", "0", job)
    client.run("wait", job, code=None)


def test_an_end_that_was_written_and_not_told_counts(tmp_path: Path) -> None:
    """A supervisor that is slow to end (a hanging disk) is ended by force; what it wrote of the job stays true."""
    paths = Paths(str(tmp_path))
    attempt_files = paths.job("job").attempt(1)
    os.makedirs(attempt_files.folder)
    backend = local.LocalBackend(paths, "agent", lambda order: None, GpuSource())
    slow = subprocess.Popen(["sleep", "60"])
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for number, written in enumerate([True, False]):
        if written:
            files.write_json(attempt_files.exit, exit_record.record(EndReason.EXIT_CODE, "exit code 7", 7).to_wire())
        else:
            os.unlink(attempt_files.exit)
        backend._keep(("job", 1), ours.dup())
        backend.supervisors[("job", 1)] = slow.pid if written else 2**22 + number
        backend.stop(("job", 1), "somebody", -60.0)
        status = backend.look_at_supervisors()[("job", 1)]
        assert status.end and status.end.reason_code == ("exit_code" if written else "stopped_by_user")
    assert slow.wait(10) == -signal.SIGKILL
    ours.close()
    its.close()


def test_what_is_wrong_about_an_end_costs_only_itself() -> None:
    end = exit_record.record(EndReason.EXIT_CODE, "exit code 3", 3).to_wire()
    broken = {
        "cause": {"line": "a\0b"},
        "usage": {"cpu_seconds": "y", "wall_seconds": 1.0},
        "signal": 5,
        "ended_at": float("inf"),
        "reason": [],
    }
    found = AttemptEnd.received({**end, **broken}, "")
    assert found == AttemptEnd("exit_code", "", 0.0, 3, usage=Usage(wall_seconds=1.0))
    with pytest.raises(BadRequest):
        AttemptEnd.received({**end, "reason_code": "none"}, "")


def test_a_nul_in_the_line_that_says_why_makes_no_lost_job(client: Client) -> None:
    job = client.submit("--", "python", "-c", "raise ValueError('a\\0b\\udc80')", "--retry-on=lost")
    assert client.run("wait", job, code=None).code == 1
    assert client.job(job)["state"] == "failed" and client.job(job)["cause"]["code"] == "exception"


@pytest.mark.parametrize(
    "put", ["mkfifo exit.json", "ln -s /dev/zero exit.json", "mkdir exit.json", "echo [[[[ > exit.json"]
)
def test_what_a_job_puts_in_place_of_its_exit_record_holds_nobody_up(client: Client, put: str) -> None:
    code = (
        f"cd ..; {put}; python3 -c 'import json,os;"
        """ os.kill(json.load(open("supervisor.json"))["supervisor"]["pid"], 9)'; sleep 1"""
    )
    job = client.submit("--", "sh", "-c", code)
    client.run("wait", job, code=None, timeout=60)
    assert client.job(job)["state"] == "lost"
    assert client.run("submit", "--wait", "--", "true", timeout=60).code == 0


def test_a_log_that_is_a_pipe_holds_nobody_up(client: Client) -> None:
    job = client.submit("--", "sh", "-c", "rm ../output.log; mkfifo ../output.log; exit 3")
    assert client.run("wait", job, code=None, timeout=60).code == 3


def test_what_a_shell_ignores_or_limits_reaches_no_job(client: Client) -> None:
    shell = "ulimit -S -n 64; ulimit -S -s 2048; trap '' USR1 QUIT ALRM; exec \"$@\""
    words = [
        *FOUNDATIONS,
        "submit",
        "--json",
        "--",
        "python",
        "-c",
        "import resource as r; print(r.getrlimit(r.RLIMIT_NOFILE)[0],",
    ]
    words[-1] += " r.getrlimit(r.RLIMIT_STACK)[0], open('/proc/self/status').read().split('SigIgn:')[1].split()[0])"
    done = subprocess.run(
        ["sh", "-c", shell, "sh", *words],
        cwd=client.project,
        env=client.env,
        capture_output=True,
        text=True,
        check=True,
    )
    job = json.loads(done.stdout)[0]["job"]
    client.run("wait", job)
    files_, stack, ignored = client.run("logs", job).stdout.split()
    assert int(files_) >= 1024 and (int(stack) >= 8 << 20 or int(stack) == -1)
    assert int(ignored, 16) & (1 << (signal.SIGUSR1 - 1) | 1 << (signal.SIGQUIT - 1) | 1 << (signal.SIGALRM - 1)) == 0


# --- GPUs -------------------------------------------------------------------------------------------------------

GOOD = "1, GPU-b, NVIDIA A100, 81559, 0, 0, 30, 60.1"


@pytest.mark.parametrize(
    "row",
    [
        "0, GPU-a, NVIDIA A100, 81559, 0, [GPU requires reset], [GPU requires reset], [N/A]",
        "0, GPU-a, NVIDIA A100, [GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost], [GPU is lost]",
        "0, GPU-a, ERR!, 81559, 0, 0, 30, 60",
        "0, GPU-a, NVIDIA A100, ERR!, ERR!, ERR!, ERR!, ERR!",
        "0, GPU-a, NVIDIA A100, 81559, 0, 0, [Unknown Error], 60",
        "0, ERR!, ERR!, ERR!, ERR!, ERR!, ERR!, ERR!",
        "0, [Unknown Error], NVIDIA A100, 81559, 0, 0, 30, 60",
        "0, GPU-a, NVIDIA A100, 81559, 0, 0, 30, [No data]",
        "0, GPU-a, NVIDIA A100, 81559, No answer, 0, 30, 60",
    ],
)
def test_a_sick_gpu_is_known_by_any_field(row: str) -> None:
    known = [Gpu(0, "GPU-a", "NVIDIA A100", 81559, 0, 0), Gpu(1, "GPU-b", "NVIDIA A100", 81559, 0, 0)]
    found = parse(f"{row}\n{GOOD}", known)
    assert [(gpu.uuid, bool(gpu.sick)) for gpu in found] == [("GPU-a", True), ("GPU-b", False)]


def test_a_gpu_that_told_no_uuid_is_none_beside_itself() -> None:
    first = parse("0, [Unknown Error], [Unknown Error], 81559, 0, 0, 30, 60")
    assert first[0].sick
    assert [(gpu.uuid, gpu.sick) for gpu in with_lost(parse(GOOD.replace("1, ", "0, ", 1)), first, "")] == [
        ("GPU-b", "")
    ]
    assert [bool(gpu.sick) for gpu in with_lost(parse(GOOD), first, "")] == [True, False]


@pytest.mark.parametrize(
    "word", ["[N/A]", "N/A", "[Not Supported]", "[Insufficient Permissions]", "[Function Not Found]"]
)
def test_what_a_healthy_gpu_does_not_say_makes_it_not_sick(word: str) -> None:
    assert not parse(f"0, GPU-a, NVIDIA A100, 81559, 0, {word}, {word}, {word}")[0].sick


def test_a_name_with_a_comma_and_an_old_drivers_row() -> None:
    found = parse("0, GPU-a, NVIDIA A100, 80GB, 81559, 5, 0, 30, 50\n1, GPU-b, Tesla K80, 11441, 0, 0, 30")
    assert [(gpu.name, gpu.memory_total, gpu.sick) for gpu in found] == [
        ("NVIDIA A100, 80GB", 81559, ""),
        ("Tesla K80", 11441, ""),
    ]


@pytest.mark.parametrize("cells", ["0, [N/A]", "0, ", "ERR!, GPU-a", "[GPU is lost], [GPU is lost]"])
def test_a_gpu_that_cannot_be_named_is_there_and_sick(cells: str) -> None:
    found = parse(f"{cells}, NVIDIA A100, 81559, 0, 0, 30, 50")
    assert len(found) == 1 and found[0].sick


def test_a_fault_stays_with_its_gpu_when_numbers_change() -> None:
    known = parse("0, GPU-a, NVIDIA A100, 81559, 0, 0, 30, 50\n1, GPU-b, NVIDIA A100, 81559, 0, 0, 30, 50")
    faults = ", ".join(["[Unknown Error]"] * 7)
    found = with_lost(parse(f"0, GPU-b, NVIDIA A100, 81559, 0, 0, 30, 50\n1, {faults}", known), known, "")
    assert [gpu.sick for gpu in found if gpu.uuid == "GPU-b"] == [""]
    assert all(gpu.sick for gpu in found if gpu.uuid != "GPU-b")


def test_sick_amd_gpus() -> None:
    well = {"Unique ID": "0x12", "GPU use (%)": "0", "VRAM Total Memory (B)": "68719476736"}
    cards = {
        "card0": well,
        "card1": "GPU is lost",
        "card2": {**dict.fromkeys(well, "N/A")},
        "card3": {**well, "Card Series": "ERROR", "Unique ID": "0x13"},
    }
    found = parse_rocm("WARNING: {x}\n" + json.dumps(cards) + "\nbye")
    assert [bool(gpu.sick) for gpu in found] == [False, True, True, True]
    assert [gpu.uuid for gpu in with_lost(parse_rocm(json.dumps({"card1": "lost"}), found), found, "")][:2] == [
        "GPU-12",
        "GPU-amd-1",
    ]
    listed = '[ERROR] one\n[{"gpu": 0, "uuid": "N/A"}, {"gpu": [0]}]'
    measured = [{"gpu": 0, "mem_usage": {"total_vram": {"value": 1, "unit": "GB"}}}, {"gpu": 1, "usage": "N/A"}]
    found = parse_amd(listed, json.dumps({"gpu_data": measured}))
    assert [(gpu.uuid, gpu.memory_total, bool(gpu.sick)) for gpu in found] == [
        ("GPU-amd-0", 1024, False),
        ("GPU-amd-1", None, True),
    ]


@pytest.mark.parametrize("pid", ["²", "9" * 5000, "", "-1"])
def test_a_process_without_a_number_is_none(pid: str) -> None:
    assert parse_processes(f"GPU-a, {pid}, 3") == []


def test_a_gpu_that_has_gone_from_the_list_is_sick_with_the_tools_words() -> None:
    known = parse(f"0, GPU-a, NVIDIA A100, 81559, 0, 0, 30, 60\n{GOOD}")
    said = "Unable to determine the device handle for GPU 0000:3B:00.0: Unknown Error"
    found = with_lost(parse(GOOD), known, said)
    assert [(gpu.uuid, gpu.sick) for gpu in found] == [("GPU-a", f"not healthy: {said}"), ("GPU-b", "")]


NVIDIA_SMI = """#!/bin/sh
case "$1" in
--query-gpu*) cat {folder}/gpus; exit $(cat {folder}/code);;
*) exit 0;;
esac
"""


def test_a_sick_gpu_is_never_leased_and_its_neighbours_are(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nvidia-smi").write_text(NVIDIA_SMI.format(folder=folder))
    (folder / "nvidia-smi").chmod(0o755)
    client.env["PATH"] = f"{folder}:{client.env['PATH']}"
    sick = "0, GPU-a, NVIDIA A100, 81559, 0, [GPU requires reset], [GPU requires reset], [N/A]"
    (folder / "gpus").write_text(f"{sick}\n{GOOD}\n")
    (folder / "code").write_text("0")
    on_b = ["submit", "--gpus", "1", "--wait", "--", "sh", "-c", "test $CUDA_VISIBLE_DEVICES = GPU-b"]
    for _ in range(3):
        client.run(*on_b, timeout=90)
    shown = client.run("gpus").stdout
    assert "not healthy: GPU requires reset" in shown
    (folder / "gpus").write_text(f"{GOOD}\nUnable to determine the device handle for GPU 0000:3B:00.0: GPU is lost\n")
    (folder / "code").write_text("15")
    wait_until(lambda: "GPU is lost" in client.run("gpus").stdout, 40)
    client.run(*on_b, timeout=90)


def test_a_host_whose_tool_fails_says_why_it_has_no_gpu(client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "nvidia-smi").write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed: driver mismatch'; exit 9\n")
    (folder / "nvidia-smi").chmod(0o755)
    client.env["PATH"] = f"{folder}:{client.env['PATH']}"
    assert "driver mismatch" in client.run("submit", "--gpus", "1", "--", "true", code=4).stderr
    assert "driver mismatch" in client.run("gpus").stderr


# --- a job's environment ----------------------------------------------------------------------------------------


def printed(client: Client, *words: str, env: dict[str, str], options: tuple[str, ...] = ()) -> str:
    job = client.submit(*options, "--", *words, env=env)
    client.run("wait", job, code=None)
    return str(client.run("logs", job).stdout.strip())


def test_nothing_of_the_shell_that_started_the_agent_reaches_a_later_job(client: Client) -> None:
    shell = ["sh", "-c", "echo $MODE-$WANDB_API_KEY-$OMP_NUM_THREADS; umask; ulimit -t; ulimit -f"]
    limits = "ulimit -t 100; ulimit -S -f 1000000; umask 077; "
    words = shlex.join([sys.executable, "-m", "foundations_tui", "submit", "--wait", "--", "true"])
    env = {**client.env, "MODE": "A", "WANDB_API_KEY": "from-A", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    subprocess.run(["sh", "-c", limits + words], cwd=client.project, env=env, check=True, capture_output=True)
    found = printed(client, *shell, env={"MODE": "B"}).splitlines()
    assert found[0] == "--" and found[1] == "0022"
    assert found[2] == "unlimited" or not _may_raise_limits()
    assert found[3] == "unlimited"
    options = ("--inherit-env", "MODE")
    assert printed(client, *shell, env={"MODE": "B"}, options=options).splitlines()[0] == "B--"
    assert "no such variable" in client.run("submit", "--inherit-env", "NOT_THERE", "--", "true", code=2).stderr
    assert (
        "looks like a secret"
        in client.run(
            "submit", "--inherit-env", "WANDB_API_KEY", "--", "true", code=2, env={"WANDB_API_KEY": "x"}
        ).stderr
    )


def _may_raise_limits() -> bool:
    """Return whether a hard limit can be raised here: containers mostly forbid it even to root."""
    code = "import resource as r; r.setrlimit(r.RLIMIT_CPU, (9, 9)); r.setrlimit(r.RLIMIT_CPU, (-1, -1))"
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL).returncode == 0


def test_python_and_its_programs_are_those_of_the_submitting_path(client: Client, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    env = {"PATH": f"{venv}/bin:{client.env['PATH']}", "VIRTUAL_ENV": str(venv)}
    assert printed(client, "python", "-c", "import sys; print(sys.prefix)", env=env) == str(venv)
    assert printed(client, "sh", "-c", "python -c 'import sys; print(sys.prefix)'", env=env) == str(venv)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "python3").symlink_to(venv / "bin" / "python3")
    for name in ("sh", "cat", "git"):
        (bare / name).symlink_to(str(shutil.which(name)))
    assert printed(client, "sh", "-c", "python -c 'print(5)'", env={"PATH": str(bare)}) == "5"
    (bare / "python3").unlink()
    for name in ("python", "python3"):  # without any, it is the agent's own
        assert printed(client, "sh", "-c", f"{name} -c 'print(5)'", env={"PATH": str(bare)}) == "5"


def test_programs_of_a_configured_python_are_found(client: Client, tmp_path: Path) -> None:
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (venv / "bin" / "torchrun").write_text("#!/bin/sh\necho run by torch\n")
    (venv / "bin" / "torchrun").chmod(0o755)
    (client.home / "hosts.toml").write_text(f'[hosts.local]\npython = "{venv}/bin/python"\n')
    assert printed(client, "torchrun", env={}) == "run by torch"
    assert printed(client, "python", "-c", "import sys; print(sys.prefix)", env={}) == str(venv)


def test_a_setup_that_fails_ends_the_job_before_its_command(client: Client) -> None:
    (client.home / "hosts.toml").write_text('[hosts.local]\nsetup = "module load cuda/12\\nexport A=1"\n')
    job = client.submit("--", "sh", "-c", "echo must not run")
    assert client.run("wait", job, code=None).code == 125
    said = client.run("logs", job).stdout
    assert "must not run" not in said and "module" in said and "setup of this host failed" in said
    assert client.job(job)["cause"]["code"] == "setup_failed"
    tested = client.run("hosts", "test", "local").stdout
    assert "its setup fails" in tested and "module" in tested, "and says what the lines said"
    for early in ("exit 0", "return 0"):
        (client.home / "hosts.toml").write_text(f'[hosts.local]\nsetup = "{early}"\n')
        assert client.run("submit", "--wait", "--", "echo", "x", code=None).code == 125
    (client.home / "hosts.toml").write_text('[hosts.local]\nsetup = "export A=1"\n')
    assert printed(client, "sh", "-c", "echo $A; exit 0", env={}) == "1"


def test_a_journal_keeps_space_for_what_has_to_be_written(tmp_path: Path) -> None:
    path = tmp_path / "f"
    fd = files.disk.open_log(str(path))
    if files.disk.reserve(fd, 0, 1 << 20):
        assert path.stat().st_size == 0 and path.stat().st_blocks * 512 >= 1 << 20
    os.close(fd)
    assert signal.SIGSTOP
