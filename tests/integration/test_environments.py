"""Environments: what a project needs is locked at submit, built once on its host, and used as it is.

uv is the real one; the packages come from an index of the tests' own.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uv as uv_package

from foundations_tui.snapshot.objects import blob_id
from tests.support.client import Client
from tests.support.index import Index
from tests.support.sshd import Sshd

UV = os.fspath(uv_package.find_uv_bin())
UV_OBJECT = blob_id(Path(UV))
SCRIPT = """
import os, sys
import alpha
print("alpha", alpha.VERSION, sys.prefix)
"""


@pytest.fixture
def index() -> Iterator[Index]:
    """An index with two packages."""
    index = Index()
    index.add("alpha", "1.0", needs=["beta>=1"])
    index.add("beta", "1.1")
    yield index
    index.close()


@pytest.fixture
def client(client: Client, index: Index, tmp_path: Path) -> Client:
    """A client whose packages come from the index, and nothing else."""
    for name in list(client.env):
        if name.startswith(("PIP_", "UV_")) or name in ("VIRTUAL_ENV", "CONDA_PREFIX"):
            del client.env[name]
    client.env.update(PIP_CONFIG_FILE=os.devnull, PIP_INDEX_URL=index.url, UV_CACHE_DIR=str(tmp_path / "uv-cache"))
    (client.project / "train.py").write_text(SCRIPT)
    (client.home / "tools").mkdir(parents=True)
    (client.home / f"tools/uv-0.8.5-{os.uname().machine}").symlink_to(UV)  # else it is fetched from the index
    give_uv(client.home / "agent")
    return client


def give_uv(root: Path) -> None:
    """Let a host have uv already among what was sent to it: it takes a second to send."""
    place = root / "objects" / UV_OBJECT[:2] / UV_OBJECT[2:]
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(UV)


def forget(client: Client) -> None:
    """Remove what the local host has built and fetched."""
    for name in ("environments", "cache"):
        subprocess.run(["chmod", "-R", "u+w", client.home / "agent" / name], check=True)
        shutil.rmtree(client.home / "agent" / name)


def write(client: Client, name: str, text: str) -> None:
    path = client.project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def log(client: Client, job: str) -> str:
    return str(client.run("logs", job).stdout)


def finish(client: Client, job: str, code: int | None = 0) -> str:
    """Return the log of a job that ends with an exit code."""
    client.run("wait", job, code=code)
    return log(client, job)


def environments(client: Client) -> list[Path]:
    """Return the environments on the local host."""
    top = client.home / "agent/environments"
    return sorted(path for path in top.iterdir() if path.is_dir()) if top.is_dir() else []


def run(client: Client, *words: str) -> str:
    """Return the log of ``python train.py``."""
    return finish(client, client.submit(*words, "--", "python", "train.py"))


@pytest.mark.rest
def test_what_has_no_lock_is_locked_built_once_and_recorded(client: Client, index: Index) -> None:
    write(client, "requirements.txt", "alpha\n")
    first = client.submit("--", "python", "train.py")
    text = finish(client, first)
    assert text.startswith("foundations: building the environment ") and "requirements.txt, Python 3." in text
    (built,) = environments(client)
    assert f"alpha 1.0 {built}/env" in text
    second = client.submit("--", "python", "train.py")
    assert finish(client, second) == f"alpha 1.0 {built}/env\n"
    assert environments(client) == [built]
    job = client.job(first)
    assert job["facts"]["environment"] == built.name and len(job["facts"]["lock"]) == 64
    assert {row["name"]: row["version"] for row in job["packages"]} == {"alpha": "1.0", "beta": "1.1"}
    told = json.loads((built / "complete.json").read_text())
    assert told["packages"] == ["alpha-1.0", "beta-1.1"] and len(told["digest"]) == 64
    # What was resolved is not resolved again, neither by a rerun nor by a submit, before somebody asks for it.
    index.add("alpha", "2.0")
    assert "alpha 1.0" in finish(client, client.json_of("rerun", "--json", first)[0]["job"])
    assert "alpha 1.0" in run(client)
    assert "alpha 2.0" in run(client, "--relock")
    assert not list(client.project.glob("*.lock")) and not list(client.project.glob("*.egg-info"))


def test_an_environment_cannot_be_written_to_and_shares_no_file(client: Client) -> None:
    write(client, "requirements.txt", "alpha\n")
    run(client)
    (built,) = environments(client)
    for path in built.rglob("*"):
        if not path.is_symlink():
            assert not path.stat().st_mode & 0o222, path
            if os.getuid() == 0 and path.is_file():
                assert path.stat().st_nlink == 1, path  # whoever is root writes through every mode
    assert not list(built.parent.glob("*.new-*"))


def test_a_uv_lock_with_a_src_layout_and_an_extra(client: Client, index: Index, tmp_path: Path) -> None:
    index.add("gamma", "3.0")
    write(
        client,
        "pyproject.toml",
        '[project]\nname = "own"\nversion = "0"\nrequires-python = ">=3.8"\ndependencies = ["alpha"]\n'
        '[project.optional-dependencies]\nmore = ["gamma"]\n'
        '[build-system]\nrequires = ["nothing"]\nbuild-backend = "nothing"\n',
    )
    write(client, "src/own/__init__.py", "NAME = 'own code'\n")
    write(
        client,
        "train.py",
        SCRIPT + "import own\nprint(own.NAME)\ntry:\n import gamma\n print('gamma')\n"
        "except ImportError:\n print('no gamma')\n",
    )
    env = {**client.env, "UV_DEFAULT_INDEX": index.url}
    subprocess.run([UV, "lock", "--quiet"], cwd=client.project, env=env, check=True)
    index.add("alpha", "1.5")
    text = run(client)
    assert "alpha 1.0" in text and "own code" in text and "no gamma" in text
    assert "\ngamma" in run(client, "--extra", "more")


def test_the_header_of_a_script_counts_first(client: Client) -> None:
    write(client, "requirements.txt", "no-such-package\n")
    header = '# /// script\n# requires-python = ">=3.8"\n# dependencies = [\n#   "alpha==1.0",\n# ]\n# ///\n'
    write(client, "train.py", header + SCRIPT)
    text = run(client)
    assert "the header of train.py" in text and "alpha 1.0" in text


def test_dependencies_of_a_project_and_what_is_none(client: Client) -> None:
    write(client, "pyproject.toml", "[tool.other]\nx = 1\n")
    write(client, "train.py", "print('no environment')")
    assert run(client) == "no environment\n"
    write(client, "pyproject.toml", '[project]\nname = "own"\nversion = "0"\ndependencies = ["alpha"]\n')
    write(client, "train.py", SCRIPT)
    assert "[project] of pyproject.toml" in run(client)


def test_what_is_not_supported_is_named_with_the_cure(client: Client) -> None:
    write(client, "poetry.lock", "")
    write(client, "train.py", "print('runs')")
    done = client.run("submit", "--wait", "--", "python", "train.py")
    assert "poetry.lock is not supported" in done.stderr and "requirements.txt" in done.stderr


def test_what_a_host_brings_itself_goes_on_to_count(client: Client) -> None:
    write(client, "requirements.txt", "no-such-package\n")
    write(client, "train.py", "print('runs')")
    client.env["VIRTUAL_ENV"] = "/some/where"
    assert run(client) == "runs\n"
    del client.env["VIRTUAL_ENV"]
    assert run(client, "--runtime", "none") == "runs\n"
    (client.home / "hosts.toml").write_text(f"[hosts.local]\npython = {json.dumps(sys.executable)}\n")
    assert run(client) == "runs\n"
    assert not environments(client)


def test_what_cannot_be_had_is_refused_in_the_words_of_the_resolver(client: Client) -> None:
    write(client, "requirements.txt", "alpha==9\n")
    done = client.run("submit", "--", "python", "train.py", code=2)
    assert (
        "no version of alpha==9" in done.stderr and "unsatisfiable" in done.stderr and "--runtime none" in done.stderr
    )
    assert client.json("jobs") == []
    done = client.run("submit", "--runtime", "other.txt", "--", "python", "train.py", code=2)
    assert "no such file" in done.stderr
    done = client.run("submit", "--python", "2.7", "--", "python", "train.py", code=4)
    assert "no Python there is ==2.7.*; it has 3." in done.stderr


@pytest.mark.rest
def test_a_build_that_fails_ends_its_jobs_with_the_builders_words(client: Client, index: Index) -> None:
    write(client, "requirements.txt", "alpha\n")
    run(client)
    forget(client)
    index.files_are_gone = True
    job = client.submit("--", "python", "train.py")
    client.run("wait", job, code=125)
    row = client.job(job)
    assert row["state"] == "failed" and row["reason_code"] == "environment_failed", row
    assert row["cause"]["code"] == "environment_failed" and "404 Not Found" in row["cause"]["words"], row
    assert "404" in log(client, job) and "foundations: the environment could not be built: " in log(client, job)
    index.files_are_gone = False
    assert "alpha 1.0" in run(client)  # a failure is no verdict for ever


@pytest.mark.rest
def test_jobs_wait_for_a_shared_build_and_others_go_first(client: Client, index: Index) -> None:
    write(client, "requirements.txt", "alpha\n")
    run(client)
    forget(client)
    index.delay = 3.0
    sweep = client.json("submit", "--sweep", "n=1,2,3", "--", "python", "train.py", "{n}")
    jobs = [row["job"] for row in sweep]
    other = client.submit("--runtime", "none", "--", "true")
    client.run("wait", other)
    waiting = client.job(jobs[0])
    assert waiting["state"] == "queued" and waiting["reason"].startswith("environment: "), waiting
    client.run("stop", jobs[0])
    index.delay = 0.0
    for job in jobs[1:]:
        assert "alpha 1.0" in finish(client, job)
    assert len(environments(client)) == 1
    (builds,) = (client.home / "agent/builds").iterdir()
    assert sorted(path.name for path in builds.iterdir()) == ["1", "2"]


@pytest.mark.faults
def test_a_build_that_nobody_waits_for_is_ended(client: Client, index: Index) -> None:
    write(client, "requirements.txt", "alpha\n")
    run(client)
    forget(client)
    index.delay = 600.0
    job = client.submit("--", "python", "train.py")
    client.wait_until(job, "queued")
    deadline = time.monotonic() + 30
    while not builders(client):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    client.run("stop", job)
    while builders(client):
        assert time.monotonic() < deadline, builders(client)
        time.sleep(0.05)


def builders(client: Client) -> list[int]:
    """Return the pids of the builders of a client's local host."""
    found = []
    for file in (client.home / "agent/builds").glob("*/*/builder.json"):
        pid = json.loads(file.read_text())["pid"]
        told = Path(f"/proc/{pid}/stat")
        if not (file.parent / "end.json").exists() and told.exists() and ") Z " not in told.read_text():
            found.append(pid)
    return found


@pytest.mark.rest
@pytest.mark.faults
def test_killed_builders_leave_nothing_that_is_taken_for_whole(client: Client, index: Index) -> None:
    for number in range(8):
        index.add(f"part-{number}", "1.0")
    write(client, "requirements.txt", "alpha\n" + "".join(f"part-{number}\n" for number in range(8)))
    run(client)
    forget(client)
    index.delay = 0.1
    job = client.submit("--", "python", "train.py")
    for pause in (0.0, 0.3):
        deadline = time.monotonic() + 30
        while not builders(client):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(pause)
        for pid in builders(client):
            os.killpg(pid, signal.SIGKILL)
        assert not [path for path in environments(client) if ".new-" not in path.name]
    assert "alpha 1.0" in finish(client, job)
    (built,) = environments(client)
    assert len(json.loads((built / "complete.json").read_text())["packages"]) == 10


def test_credentials_of_an_index_stand_in_no_file(client: Client, index: Index) -> None:
    index.password = "hunter2secret"
    client.env["PIP_INDEX_URL"] = index.url
    write(client, "requirements.txt", "alpha\n")
    assert "alpha 1.0" in run(client)
    client.run("sync")
    for top in (client.home,):
        for path in top.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert b"hunter2secret" not in path.read_bytes(), path


@pytest.mark.faults
def test_a_host_without_an_index_gets_the_wheels(client: Client, index: Index, sshd: Sshd) -> None:
    root = client.add_host("gpu1", sshd)
    give_uv(root)
    write(client, "requirements.txt", "alpha\n")
    job = client.submit("--host", "local", "--ship-wheels", "--", "python", "train.py")
    assert "alpha 1.0" in finish(client, job)
    index.close()
    job = client.submit("--host", "gpu1", "--ship-wheels", "--", "python", "train.py")
    text = finish(client, job)
    assert "alpha 1.0" in text and str(root) in text


def test_what_has_no_wheel_is_locked_by_its_host_and_replayed(client: Client, index: Index) -> None:
    index.add_source("delta", "0.1")
    write(client, "requirements.txt", "delta\n")
    write(client, "train.py", "import delta\nprint('delta', delta.VERSION)\n")
    done = client.run("submit", "--json", "--", "python", "train.py")
    assert "the host locks what is wanted" in done.stderr
    job = json.loads(done.stdout)[0]["job"]
    assert "delta 0.1" in finish(client, job)
    index.add_source("delta", "0.2")
    again = client.json_of("rerun", "--json", job)[0]["job"]
    assert "delta 0.1" in finish(client, again)
    assert client.job(again)["facts"]["lock"] == client.job(job)["facts"]["lock"]
    done = client.run("submit", "--ship-wheels", "--", "python", "train.py", code=2)
    assert "delta" in done.stderr


def test_conda_builds_where_the_packages_stay(client: Client, tmp_path: Path) -> None:
    conda = tmp_path / "bin/micromamba"
    conda.parent.mkdir()
    conda.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/asked\n'
        'case "$1" in --version) echo 1.5.8; exit;; esac\n'
        'while [ "$#" -gt 0 ]; do case "$1" in --prefix) prefix=$2;; esac; shift; done\n'
        'mkdir -p "$prefix/bin" "$prefix/conda-meta"\n'
        'for n in $(seq 100); do printf \'{"url": "https://c.example/linux-64/a%s-1-0.conda", "md5": "01"}\' $n'
        ' > "$prefix/conda-meta/a$n-1-0.json"; done\n'
        f'ln -s {os.path.realpath(sys.executable)} "$prefix/bin/python"\n'
    )
    conda.chmod(0o755)
    write(client, "environment.yml", "dependencies:\n  - a\n")
    write(client, "train.py", "import sys\nprint(sys.executable)\n")
    finish(client, client.submit("--runtime", "none", "--", "true"))
    (client.home / "agent/login-path").write_text(f"{conda.parent}:/usr/bin:/bin")
    job = client.submit("--", "python", "train.py")
    assert "/env/bin/python" in finish(client, job)
    asked = (tmp_path / "asked").read_text()
    assert "create --yes --prefix" in asked and "environment.yml" in asked
    assert client.job(job)["facts"]["lock"]
    again = client.json_of("rerun", "--json", job)[0]["job"]
    finish(client, again)
    assert "explicit.txt" in (tmp_path / "asked").read_text()
    lock = (client.home / "agent/locks" / client.job(job)["facts"]["lock"]).read_text()
    assert lock.count("https://c.example/") == 100 and "a7-1-0.conda#01\n" in lock
    (built, *_) = [path for path in environments(client) if ".at-" in path.name]
    assert not [path for path in built.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o222]


def test_an_image_runs_by_the_hosts_own_program(client: Client, tmp_path: Path) -> None:
    program = tmp_path / "bin/apptainer"
    program.parent.mkdir()
    program.write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {tmp_path}/asked\n'
        'case "$1" in\n'
        "--version) echo apptainer version 1.3.4;;\n"
        'pull) echo image > "$3";;\n'
        'exec) while [ "${1##*.}" != sif ]; do shift; done; shift; exec "$@";;\n'
        "esac\n"
    )
    program.chmod(0o755)
    finish(client, client.submit("--runtime", "none", "--", "true"))
    (client.home / "agent/login-path").write_text(f"{program.parent}:/usr/bin:/bin")
    job = client.submit("--runtime", "image:docker://python:3.12", "--", "sh", "-c", "echo inside; pwd")
    assert "inside" in finish(client, job)
    finish(client, client.submit("--runtime", "image:docker://python:3.12", "--", "python", "-c", "1"), code=None)
    assert "image.sif python -c 1" in (tmp_path / "asked").read_text()
    asked = (tmp_path / "asked").read_text()
    assert "pull --force" in asked and "docker://python:3.12" in asked and "exec --pwd" in asked
    assert client.job(job)["facts"]["image"].startswith("sha256:")
    done = client.run("submit", "--runtime", "image:", "--", "true", code=2)
    assert "names no image" in done.stderr


def test_an_environment_that_is_gone_is_built_again(client: Client) -> None:
    write(client, "requirements.txt", "alpha\n")
    run(client)
    (built,) = environments(client)
    subprocess.run(["chmod", "-R", "u+w", built], check=True)
    shutil.rmtree(built)
    assert "building the environment" in run(client)
    assert environments(client) == [built]


@pytest.mark.rest
def test_a_dry_run_says_what_a_job_would_run_in(client: Client) -> None:
    write(client, "requirements.txt", "alpha\n")
    done = client.run("submit", "--dry-run", "--", "python", "train.py")
    assert "environment: to be built on local: requirements.txt, Python 3." in done.stdout
    told = client.json("submit", "--dry-run", "--", "python", "train.py")["environment"]
    assert told["built"] is False and told["source"] == "requirements.txt" and len(told["hash"]) == 64
    run(client)
    assert client.json("submit", "--dry-run", "--", "python", "train.py")["environment"]["built"] is True
    assert client.json("submit", "--dry-run", "--runtime", "none", "--", "true")["environment"]["built"] is None


def test_environments_are_pruned_by_use_and_never_while_a_job_needs_one(client: Client) -> None:
    write(client, "requirements.txt", "alpha\n")
    run(client)
    (built,) = environments(client)
    write(client, "train.py", SCRIPT + "import time\ntime.sleep(600)\n")
    job = client.submit("--", "python", "train.py")
    client.wait_until(job, "running")
    (row,) = client.json_of("prune", "--environments", "--older-than", "0", "--yes", "--json")
    assert row["hash"] == built.name and row["in_use"] == 1 and row["removed"] is False, row
    client.run("stop", "--grace", "0", job)
    client.run("wait", job, code=None)
    assert client.json_of("prune", "--environments", "--yes", "--json")[0]["removed"] is False  # used a moment ago
    listed = client.run("prune", "--environments", "--older-than", "0", "--dry-run").stdout
    assert "requirements.txt" in listed and "goes" in listed and built.exists()
    assert client.json_of("prune", "--environments", "--older-than", "0", "--yes", "--json")[0]["removed"] is True
    assert not built.exists()
    done = client.run("prune", "--environments", "--state", "failed", code=2)
    assert "--environments goes with" in done.stderr


def test_an_exact_rerun_and_what_it_refuses(client: Client, index: Index, tmp_path: Path) -> None:
    write(client, "requirements.txt", "alpha\n")
    job = client.submit("--job-seed", "7", "--", "python", "train.py")
    finish(client, job)
    index.add("alpha", "2.0")
    write(client, "requirements.txt", "beta\n")
    forget(client)
    again = client.json_of("rerun", "--json", "--exact", job)[0]["job"]
    assert "alpha 1.0" in finish(client, again)
    one, other = client.job(job), client.job(again)
    assert other["spec"]["snapshot"] == one["spec"]["snapshot"] and other["packages"] == one["packages"]
    assert other["facts"]["lock"] == one["facts"]["lock"] and other["facts"]["seed"] == 7
    without = client.submit("--runtime", "none", "--", "true")
    finish(client, without)
    assert "recorded and not locked" in client.run("rerun", "--exact", without, code=2).stderr
    done = client.run("rerun", "--exact", "--relock", job, code=2)
    assert "no other may be asked for" in done.stderr
    parts = {check["part"]: check["state"] for check in client.json("verify", job)["checks"]}
    assert parts["lock"] == "ok", parts
    # and the lock is among what is restored
    client.run("checkout", job, str(tmp_path / "old"))
    assert "alpha==1.0" in (tmp_path / "old/requirements.lock.txt").read_text()
    assert "uv pip sync" in (tmp_path / "old/run.sh").read_text()


def test_compare_names_the_packages_first_that_a_project_asks_for(client: Client, index: Index) -> None:
    write(client, "requirements.txt", "alpha\n")
    one = client.submit("--", "python", "train.py")
    finish(client, one)
    index.add("alpha", "2.0", needs=["beta>=2"])
    index.add("beta", "2.0")
    other = client.submit("--relock", "--", "python", "train.py")
    finish(client, other)
    lines = client.json("compare", one, other)["lines"]
    assert [line["name"] for line in lines if line["kind"] == "package"] == ["alpha", "beta"]
    assert not [line for line in lines if line["kind"] in ("python", "variable")], lines


@pytest.mark.faults
def test_the_certificate_of_a_company_is_sent_along(client: Client, tmp_path: Path) -> None:
    script = """
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=company -keyout ca.key -out ca.pem
    openssl req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout key.pem -out asked.pem
    echo subjectAltName=IP:127.0.0.1 > names
    openssl x509 -req -in asked.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem
    cat key.pem cert.pem > both.pem
    """
    subprocess.run(["sh", "-e", "-c", script], cwd=tmp_path, check=True, capture_output=True)
    ca = tmp_path / "ca.pem"
    index = Index(certificate=tmp_path / "both.pem")
    try:
        index.add("alpha", "1.0")
        client.env.update(PIP_INDEX_URL=index.url, PIP_CERT=str(ca))
        client.env.pop("SSL_CERT_FILE", None)
        write(client, "requirements.txt", "alpha\n")
        assert "alpha 1.0" in run(client)
    finally:
        index.close()


@pytest.mark.faults
def test_an_index_that_does_not_answer_is_the_cause(client: Client) -> None:
    (client.home / "hosts.toml").write_text('[hosts.local]\nenv = {UV_HTTP_RETRIES = "0"}\n')
    client.env.update(PIP_INDEX_URL="http://127.0.0.1:9/simple", UV_HTTP_RETRIES="0")
    write(client, "requirements.txt", "alpha\n")
    done = client.run("submit", "--json", "--", "python", "train.py")
    assert "the host locks what is wanted" in done.stderr and "Connection refused" in done.stderr
    job = json.loads(done.stdout)[0]["job"]
    client.run("wait", job, code=125)
    assert "Connection refused" in client.job(job)["cause"]["words"]


@pytest.mark.faults
def test_the_oldest_python(client: Client) -> None:
    write(client, "requirements.txt", "alpha\n")
    if not any(Path.home().glob(".pyenv/versions/3.8.*/bin/python")) and not shutil.which("python3.8"):
        pytest.skip("no Python 3.8 here")
    assert "Python 3.8." in run(client, "--python", "3.8")


@pytest.mark.rest
@pytest.mark.faults
def test_a_python_that_no_host_has_is_sent_as_an_archive(client: Client, tmp_path: Path) -> None:
    """The archive has this Python's own program, which finds its library where it was built."""
    name = f"cpython-3.15.0+20260101-{os.uname().machine}-unknown-linux-gnu-install_only.tar.gz"
    with tarfile.open(client.project.parent / name, "w:gz") as archive:
        archive.add(os.path.realpath(sys._base_executable), "python/bin/python3")  # type: ignore[attr-defined]
    write(client, "requirements.txt", "alpha\n")
    write(client, "foundations.toml", f'[runtime]\npython = "3.15"\npython_archive = "../{name}"\n')
    assert "alpha 1.0" in run(client)
    assert list((client.home / "agent/tools").glob("python-*/python/bin/python3"))
    write(client, "foundations.toml", f'[runtime]\npython = "3.16"\npython_archive = "../{name}"\n')
    assert "no Python there is ==3.16.*" in client.run("submit", "--", "true", code=4).stderr
    write(client, "foundations.toml", '[runtime]\npython = "3.16"\npython_archive = "other.tar.gz"\n')
    assert "is no file like cpython-3" in client.run("submit", "--", "true", code=2).stderr
    # an archive that leads out of its folder
    with tarfile.open(client.project.parent / name, "w:gz") as archive:
        member = tarfile.TarInfo("python/../../../evil")
        archive.addfile(member)
    write(client, "foundations.toml", f'[runtime]\npython = "3.15"\npython_archive = "../{name}"\n')
    job = client.submit("--", "python", "train.py")
    client.run("wait", job, code=None)
    forget(client)
    job = client.submit("--", "python", "train.py")
    client.run("wait", job, code=125)
    assert "leads out of its folder" in client.job(job)["cause"]["words"]


@pytest.mark.rest
def test_a_project_with_an_extension_module_is_built_once_per_state_of_its_code(client: Client, index: Index) -> None:
    backend = """
        import os, zipfile
        def build_wheel(folder, config_settings=None, metadata_directory=None):
            file = "own-1-py3-none-any.whl"
            with zipfile.ZipFile(os.path.join(folder, file), "w") as wheel:
                wheel.writestr("own_compiled.py", open("own.c").read())
                wheel.writestr("own-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: own\\nVersion: 1\\n")
                facts = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
                wheel.writestr("own-1.dist-info/WHEEL", facts)
                wheel.writestr("own-1.dist-info/RECORD", "own_compiled.py,,\\n")
            return file
    """
    write(client, "backend.py", textwrap.dedent(backend))
    write(client, "setup.py", "ext_modules = ['own.c']\n")
    write(client, "own.c", "VALUE = 1\n")
    build = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    write(client, "pyproject.toml", f'[project]\nname = "own"\nversion = "1"\ndependencies = ["alpha"]\n{build}')
    write(client, "train.py", SCRIPT + "import own_compiled\nprint('own', own_compiled.VALUE)\n")
    job = client.submit("--", "python", "train.py")
    text = finish(client, job)
    assert "building the project's own packages" in text and "own 1" in text
    assert {row["name"] for row in client.job(job)["packages"]} == {"alpha", "beta", "own"}
    assert "building" not in run(client)
    write(client, "own.c", "VALUE = 2\n")
    assert "own 2" in run(client)
    assert "own 1" in finish(client, client.json_of("rerun", "--json", job)[0]["job"])
    assert len(environments(client)) == 2


SET_UP = """
import os, alpha
path = os.environ["PATH"].split(os.pathsep)
print("cuda", os.environ.get("LD_LIBRARY_PATH"), path[0].endswith("/env/bin"), "/opt/cuda/bin" in path, os.getcwd())
print("out", os.environ.get("OUT"))
"""


@pytest.mark.rest
def test_setup_lines_of_a_project_are_run_once_for_an_environment(client: Client, tmp_path: Path) -> None:
    count, modules = tmp_path / "count", tmp_path / "modules.sh"
    modules.write_text(
        "module() { PATH=/opt/cuda/bin:$PATH; LD_LIBRARY_PATH=/opt/cuda/lib; export PATH LD_LIBRARY_PATH; }"
    )
    with modules.open("a") as file:
        file.write(f"\necho ran >> {count}\n")
    lines = [f". {modules}", "module load cuda"]
    write(client, "requirements.txt", "alpha\n")
    write(client, "train.py", SET_UP)
    write(client, "foundations.toml", f"[runtime]\nsetup = {json.dumps(lines)}\n")
    first = client.submit("--", "python", "train.py")
    text = finish(client, first)
    assert "jobs get these variables of theirs: LD_LIBRARY_PATH, PATH" in text
    assert "cuda /opt/cuda/lib True True" in text and "cuda /opt/cuda/lib True True" in run(client)
    again = client.json_of("rerun", "--json", first)[0]["job"]
    assert "cuda /opt/cuda/lib True True" in finish(client, again)
    assert count.read_text() == "ran\n"
    assert client.job(again)["facts"]["variables"]["LD_LIBRARY_PATH"] == "/opt/cuda/lib"
    # A job with a value of its own, and one that may use their functions, run them themselves.
    assert "cuda /opt/cuda/lib" in run(client, "--env", "LD_LIBRARY_PATH=/mine")
    assert "function" in finish(client, client.submit("--shell", "--", "type module"))
    assert count.read_text() == "ran\n" * 3 and len(environments(client)) == 1


@pytest.mark.rest
def test_setup_lines_that_do_more_than_to_set_variables_are_run_before_each_job(client: Client, tmp_path: Path) -> None:
    write(client, "requirements.txt", "alpha\n")
    write(client, "train.py", SET_UP)
    write(client, "env.sh", "export OUT=sourced\n")
    count, script = tmp_path / "count", tmp_path / "counted.sh"
    script.write_text(f'if [ -n "$FOUNDATIONS_JOB_ID" ]; then echo ran >> {count}; fi\n')
    write(client, "foundations.toml", f"[runtime]\nsetup = {json.dumps([f'. {script}', '. ./env.sh'])}\n")
    text = run(client)
    assert "setup runs before each job, because of the line: . ./env.sh" in text and "out sourced" in text
    assert "out sourced" in run(client) and count.read_text() == "ran\n" * 2
    write(client, "foundations.toml", "[runtime]\nsetup = ['export OUT=$FOUNDATIONS_JOB_ID']\n")
    job = client.submit("--", "python", "train.py")
    assert f"out {job}\n" in finish(client, job)
    write(client, "foundations.toml", f"[runtime]\nsetup = {json.dumps([f'. {script}'])}\nsetup_each_job = true\n")
    assert "setup lines" not in run(client) and count.read_text() == "ran\n" * 3


@pytest.mark.parametrize("layout", ["src", "flat"])
def test_a_project_has_its_programs_and_metadata_as_if_it_were_installed(client: Client, layout: str) -> None:
    top = "src/own" if layout == "src" else "own"
    build = '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n'
    project = '[project]\nname = "My.Own"\nversion = "1.2"\ndependencies = ["alpha"]\n'
    points = '[project.scripts]\nown-train = "own.cli:App.main"\n"../odd" = "own.cli:main"\n'
    points += '[project.entry-points."own.plugins"]\nfast = "own.cli:App"\n'
    write(client, "pyproject.toml", project + points + build)
    write(client, f"{top}/__init__.py", "import importlib.metadata as m\n__version__ = m.version('my-own')\n")
    program = """
        import sys, importlib.metadata as m
        class App:
            @staticmethod
            def main():
                import alpha, own
                groups = m.entry_points()
                plugins = groups.select(group="own.plugins") if hasattr(groups, "select") else groups["own.plugins"]
                print(own.__version__, sys.argv[1:], alpha.VERSION, [p.load().__name__ for p in plugins])
                return 3
    """
    write(client, f"{top}/cli.py", textwrap.dedent(program))
    job = client.submit("--", "own-train", "--lr", "a b")
    assert finish(client, job, code=3).endswith("1.2 ['--lr', 'a b'] 1.0 ['App']\n")
    again = client.json_of("rerun", "--json", job)[0]["job"]
    assert finish(client, again, code=3) == "1.2 ['--lr', 'a b'] 1.0 ['App']\n"
    assert not list(client.home.rglob("odd"))


@pytest.mark.rest
def test_pip_builds_where_no_uv_can_be_had_that_is_new_enough(client: Client, index: Index) -> None:
    (client.home / f"tools/uv-0.8.5-{os.uname().machine}").unlink()
    index.add("uv", "0.4.30")
    write(client, "requirements.txt", "alpha\n")
    said = client.run("submit", "--", "python", "train.py").stderr
    assert "pip builds the environment: uv could not be fetched: No matching distribution found for uv>=0.8.5" in said
    text = finish(client, "@last")
    assert "so pip builds the environment" in text and "alpha 1.0" in text
    assert {row["name"] for row in client.job("@last")["packages"]} >= {"alpha", "beta"}
    version = "requires-python = '>=3.8'\ncreated-by = 'test'\nlock-version = '1.0'\npackages = []\n"
    write(client, "pylock.toml", version)
    said = client.run("submit", "--", "python", "train.py", code=4).stderr
    assert "pylock.toml needs uv 0.8.5 or newer there, and none can be sent" in said and "install it there" in said
    assert len(client.json("jobs")) == 1


@pytest.mark.rest
def test_a_model_is_served_from_the_lock_of_its_job_with_the_servers_packages(client: Client, index: Index) -> None:
    for name, version in (("starlette", "0.30"), ("uvicorn", "0.23")):
        index.add(name, version)
    write(client, "requirements.txt", "alpha\n")
    write(client, "serving.py", "import alpha, starlette, uvicorn\n\ndef predict(x):\n    return alpha.VERSION\n")
    table = '[model]\npredict = "serving:predict"\nexample = { x = 1 }\n'
    write(client, "foundations.toml", table)
    job = client.submit("--", "python", "train.py")
    finish(client, job)
    index.add("alpha", "2.0")
    checked = client.json_of("model", "check", job, "--json")
    assert json.loads(checked["result"]) == "1.0", "what the job had stays as it was"
    packages = {row["name"]: row["version"] for row in client.job(checked["job"])["packages"]}
    assert packages == {"alpha": "1.0", "beta": "1.1", "starlette": "0.30", "uvicorn": "0.23"}
    assert len(environments(client)) == 2, "it has a hash of its own"
    write(client, "requirements.txt", "alpha==1.0\nclash\n")
    index.add("clash", "1.0")
    index.add("starlette", "0.40", needs=["clash>=2"])
    index.drop("starlette", "0.30")
    other = client.submit("--", "python", "train.py")
    finish(client, other)
    done = client.run("model", "check", other, code=2)
    assert "starlette>=0.27, uvicorn>=0.22 do not go with the lock of the job" in done.stderr
