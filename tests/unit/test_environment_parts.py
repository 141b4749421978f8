"""The parts of environments that need no host: what counts in a project, locks, Pythons, progress, pip's settings."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from foundations_tui.environments import indexes, locking, preparation, pythons, sources, torch_builds, wheels
from foundations_tui.errors import HostRefused, UsageError
from foundations_tui.snapshot import freeze
from foundations_tui.snapshot.freeze import Snapshot
from remote_agent.environments import pip_settings, setup_lines
from remote_agent.environments.places import Try
from remote_agent.environments.progress import Progress
from remote_agent.environments.steps import Steps, reason
from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.recipes import Recipe, check, in_specification, recipe_of
from remote_agent.protocol.roles import HostPython, HostTools

HEADER = "#!/usr/bin/env python\n# /// script\n# requires-python = '>=3.9'\n# dependencies = ['a', 'b>=2']\n# ///\n"
PROJECT = "[project]\nname='p'\nversion='0'\nrequires-python='>=3.9'\ndependencies=['a']\n"


def frozen(tmp_path: Path, files: dict[str, str], subdir: str = "") -> Snapshot:
    (tmp_path / "tree").mkdir()
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path / "tree", check=True)
    for name, text in files.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return freeze.take(tmp_path / "tree" / subdir)


@pytest.mark.parametrize(
    ("files", "subdir", "command", "expected"),
    [
        ({"t.py": HEADER, "requirements.txt": "c"}, "", ["python", "t.py"], ("script", "t.py", ">=3.9", ())),
        ({"t.py": HEADER.replace("\n", "\r\n")}, "", ["./t.py", "x"], ("script", "t.py", ">=3.9", ())),
        ({"t.py": HEADER}, "", ["python -u t.py > out"], ("script", "t.py", ">=3.9", ())),
        (
            {"t.py": HEADER, "requirements.txt": "c"},
            "",
            ["python", "-m", "t"],
            ("requirements", "requirements.txt", "", ()),
        ),
        ({"t.py": HEADER}, "", ["uv", "run", "t.py"], None),
        ({"uv.lock": "version = 1", "pyproject.toml": PROJECT}, "", ["true"], ("uv.lock", "uv.lock", "", ())),
        (
            {"pylock.toml": "lock-version = '1.0'", "requirements.txt": "c"},
            "",
            ["true"],
            ("pylock.toml", "pylock.toml", "", ()),
        ),
        (
            {"requirements.txt": "c", "pyproject.toml": PROJECT},
            "",
            ["true"],
            ("requirements", "requirements.txt", ">=3.9", ()),
        ),
        ({"pyproject.toml": PROJECT}, "", ["true"], ("project", "pyproject.toml", ">=3.9", ())),
        (
            {"pyproject.toml": PROJECT + "[build-system]\nrequires=[]\n", "src/p/x.py": ""},
            "",
            ["true"],
            ("project", "pyproject.toml", ">=3.9", ("src",)),
        ),
        (
            {"pyproject.toml": PROJECT + "[build-system]\nrequires=[]\n", "p/x.py": ""},
            "p",
            ["true"],
            ("project", "pyproject.toml", ">=3.9", (".",)),
        ),
        (
            {"pyproject.toml": "[tool.x]\n", "environment.yml": "dependencies: [a]"},
            "",
            ["true"],
            ("conda", "environment.yml", "", ()),
        ),
        (
            {"sub/requirements.txt": "c", "requirements.txt": "d", "sub/x": ""},
            "sub",
            ["true"],
            ("requirements", "sub/requirements.txt", "", ()),
        ),
        ({"pyproject.toml": "[project]\nname='p'\ndynamic=['dependencies']\n"}, "", ["true"], None),
        ({"x.py": ""}, "", ["python", "../x.py"], None),
    ],
)
def test_what_counts_in_a_project(
    tmp_path: Path, files: dict[str, str], subdir: str, command: list[str], expected: tuple[object, ...] | None
) -> None:
    found = sources.found(frozen(tmp_path, files, subdir), command)
    assert (found and (found.how, found.file, found.python, found.import_path)) == expected


def test_requirements_with_all_that_they_include_and_without_the_project_itself(tmp_path: Path) -> None:
    text = (
        "\ufeff-rmore/base.txt\n-c 'pins.txt' # why\n-e .[gpu]\n./lib\nc ; python_version < '4'\nd @ https://h/d.whl\n"
    )
    files = {"requirements.txt": text, "more/base.txt": "-r other.txt\nb\r\n", "more/other.txt": "x", "pins.txt": "b<2"}
    files.update({"pyproject.toml": PROJECT, "src/p/__init__.py": "", "lib/setup.py": ""})
    found = sources.found(frozen(tmp_path, files), ["true"])
    assert found is not None and found.import_path == ("src", "lib")
    assert sorted(found.files) == ["more/base.txt", "more/other.txt", "pins.txt", "pyproject.toml", "requirements.txt"]
    kept = found.files["requirements.txt"].decode().splitlines()
    assert "-e .[gpu]" not in kept and "./lib" not in kept and "d @ https://h/d.whl" in kept
    assert found.extras == ("gpu",) and found.constraints == ("pins.txt",)
    assert found.warnings == ("what lib needs itself is computed by a program: list it in requirements.txt",)
    assert sources.direct(found) == ["a", "b", "c", "d", "x"]
    assert b"b<2" not in preparation._wanted(found) and preparation._plain(found, found.constraints) == b"b<2\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("-r ../outside.txt", "outside of what is shipped"),
        ("-r /etc/passwd", "outside of what is shipped"),
        ("-r missing.txt", "shipped"),
        ("-e ../..", "outside of what is shipped"),
        ("./wheels/x-1-py3-none-any.whl", "names the file"),
        ("wheels/x-1.tar.gz ; python_version > '3'", "names the file"),
        ("x @ file:///home/me/x.whl", "names the file"),
        ("--find-links wheels", "no host has that"),
        ("--index-url file:///opt/simple", "no host has that"),
    ],
)
def test_requirements_that_no_host_could_have_are_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        sources.found(frozen(tmp_path, {"requirements.txt": text}), ["true"])


@pytest.mark.parametrize(
    "text", ["x @ git+ssh://git@github.com/a/x", "x[gpu]==1 ; sys_platform == 'linux'", "-e git+https://h/x#egg=x"]
)
def test_requirements_that_any_host_can_have_stay(tmp_path: Path, text: str) -> None:
    found = sources.found(frozen(tmp_path, {"requirements.txt": text + "\n"}), ["true"])
    assert found is not None and found.files["requirements.txt"].decode().strip() == text


def test_requirements_in_other_encodings(tmp_path: Path) -> None:
    snapshot = frozen(tmp_path, {})
    (tmp_path / "tree/requirements.txt").write_bytes("a\r\nb\u2028c # x\n".encode("utf-16"))
    snapshot = freeze.take(tmp_path / "tree")
    found = sources.found(snapshot, ["true"])
    assert found is not None and found.files["requirements.txt"].decode().split("\n")[:2] == ["a", "b\u2028c # x"]


def test_only_the_members_of_a_uv_lock_are_read(tmp_path: Path) -> None:
    lock = (
        "version = 1\n[[package]]\nname='p'\nsource={editable='.'}\n[[package]]\nname='q'\nsource={editable='libs/q'}\n"
    )
    build = PROJECT + "[build-system]\nrequires=[]\n"
    files = {"uv.lock": lock, "pyproject.toml": PROJECT, "libs/q/pyproject.toml": build, "libs/q/src/q/__init__.py": ""}
    files.update({"tests/broken/pyproject.toml": "no [toml", "vendor/alpha/pyproject.toml": build})
    found = sources.found(frozen(tmp_path, files), ["true"])
    assert found is not None and found.import_path == ("libs/q/src",)
    assert sorted(found.files) == ["libs/q/pyproject.toml", "pyproject.toml", "uv.lock"]


@pytest.mark.parametrize(
    "files",
    [
        {"pyproject.toml": PROJECT + "[build-system]\nrequires=['maturin']\nbuild-backend = 'maturin'\n"},
        {
            "pyproject.toml": PROJECT + "[build-system]\nrequires=[]\n",
            "setup.py": "setup(ext_modules=cythonize('a.pyx'))",
        },
    ],
)
def test_a_project_with_extension_modules_is_built(tmp_path: Path, files: dict[str, str]) -> None:
    found = sources.found(frozen(tmp_path, {**files, "src/p/__init__.py": ""}), ["true"])
    assert found is not None and found.builds == (".",) and found.import_path == ()


def test_a_script_header_says_what_uv_is_to_do(tmp_path: Path) -> None:
    header = HEADER[: HEADER.rindex("# ///")] + "# [tool.uv]\n# exclude-newer = '2024-01-01T00:00:00Z'\n# ///\n"
    found = sources.found(frozen(tmp_path, {"t.py": header}), ["python", "t.py"])
    assert found is not None and b"exclude-newer" in found.files["pyproject.toml"]
    assert sources.direct(found) == ["a", "b"]


@pytest.mark.parametrize("line", ["    - -r requirements.txt", '    - "-e ."', "    - ."])
def test_a_conda_file_that_names_the_project_is_refused(tmp_path: Path, line: str) -> None:
    text = f"dependencies:\n  - python\n  - pip:\n{line}\n"
    with pytest.raises(UsageError, match="which conda does not get"):
        sources.found(frozen(tmp_path, {"environment.yml": text}), ["true"])


def test_wheels_for_another_machine_are_chosen_by_its_markers() -> None:
    text = "a==1 ; python_version < '3.9' \\\n    --hash=sha256:0\nb==2 ; sys_platform == 'win32'\n"
    text += "c==3 \\\n    --hash=sha256:1\n"
    target = locking.Target("3.8.1", "x86_64", "glibc-2.36")
    assert wheels._for_target(text, target) == "a==1 \\\n    --hash=sha256:0\nc==3 \\\n    --hash=sha256:1\n"


def test_credentials_are_seen_whatever_stands_before_them() -> None:
    assert pip_settings.has_credentials("corp=https://u:p@h/simple") and pip_settings.has_credentials(
        "https://h/l.html?sig=x"
    )
    assert not pip_settings.has_credentials("corp=https://h/simple")
    assert pip_settings.places({"UV_INDEX": "corp=https://h/simple https://i/a=b"}) == [
        "https://h/simple",
        "https://i/a=b",
    ]


@pytest.mark.parametrize(
    "what", ["no.txt", "../x.txt", "/etc/passwd", "image:", "image:-x", "image:a b", "x.sh", "a.py"]
)
def test_a_runtime_that_is_none_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(UsageError, match="--runtime"):
        sources.named(frozen(tmp_path, {"x.sh": "", "a.py": ""}), what)


def test_the_project_itself_is_left_out_of_a_lock() -> None:
    text = "-e .\n    --hash=x\na==1 \\\n    --hash=sha256:0\n./lib\np @ file:///tmp/x\nb==2\n"
    assert locking._without_own(text) == "a==1 \\\n    --hash=sha256:0\nb==2\n"


@pytest.mark.parametrize(
    ("machine", "libc", "platform"),
    [
        ("x86_64", "glibc-2.36", "x86_64-manylinux_2_36"),
        ("x86_64", "glibc-2.30", "x86_64-manylinux_2_28"),
        ("aarch64", "glibc-2.99", "aarch64-manylinux_2_40"),
        ("x86_64", "musl", "x86_64-unknown-linux-musl"),
        ("x86_64", "glibc-2.12", ""),
        ("riscv64", "glibc-2.39", ""),
    ],
)
def test_the_platform_of_a_lock(machine: str, libc: str, platform: str) -> None:
    assert locking.Target("3.11.7", machine, libc).platform == platform


def tools(*versions: str) -> HostTools:
    return HostTools("x86_64", "glibc-2.36", [HostPython(f"/p/{version}", version) for version in versions])


@pytest.mark.parametrize(
    ("there", "required", "asked", "preferred", "expected"),
    [
        (["3.9.1", "3.12.0", "3.11.5"], "", "", "", "3.9.1"),
        (["3.9.1", "3.12.0", "3.11.5"], ">=3.10", "", "", "3.12.0"),
        (["3.9.1", "3.12.0", "3.11.5"], ">=3.10", "3.11", "", "3.11.5"),
        (["3.9.1", "3.12.0", "3.11.5"], "", "", "3.11", "3.11.5"),
        (["3.9.1", "3.12.0"], "", "", "3.11", "3.9.1"),
        (["3.6.1", "3.14.0rc1"], ">=3.9", "", "", "3.14.0rc1"),
    ],
)
def test_which_python_of_a_host(there: list[str], required: str, asked: str, preferred: str, expected: str) -> None:
    wanted = [pythons.specifier(text, "x") if text else SpecifierSet() for text in (required, asked, preferred)]
    assert pythons.chosen("h", tools(*there), *wanted).version == expected


def test_a_host_without_a_python_that_fits_says_what_it_has() -> None:
    with pytest.raises(HostRefused, match=r"h: no Python there is >=3.13; it has 3.9.1 \(/p/3.9.1\)"):
        pythons.chosen("h", tools("3.9.1", "3.6.0"), SpecifierSet(">=3.13"), SpecifierSet(), SpecifierSet())
    with pytest.raises(UsageError, match="names no Python"):
        pythons.specifier("snake", "--python")


def test_a_build_that_is_too_new_for_a_driver() -> None:
    lock = "torch==2.9.1 \\\n    --hash=x\nnvidia-cuda-runtime==13.0.96\n"
    assert "torch 2.9.1 is built for CUDA 13.0, and the driver there runs at most CUDA 12.4" in torch_builds.refusal(
        lock, "12.4"
    )
    assert not torch_builds.refusal(lock, "13.0") and not torch_builds.refusal(lock, "")
    assert not torch_builds.refusal("nvidia-cuda-runtime-cu12==12.8.90\n", "12.2")  # of one major version
    assert torch_builds.refusal("torch==2.5.1+cu124\n", "11.8")
    assert torch_builds.backend_for("12.4") == "cu124" and torch_builds.backend_for("12.7") == "cu126"
    assert torch_builds.backend_for("10.2") == ""


def test_a_percentage_that_never_falls() -> None:
    progress = Progress()
    lines = ["Resolved 3 packages in 2ms", "Downloading torch (600.0MiB)", "Downloading numpy (200.0MiB)", "noise"]
    lines += [" Downloaded numpy", "Downloading six (1.0MiB)", " Downloaded torch", "Prepared 3 packages in 1s"]
    lines += ["Installed 3 packages in 1ms", "Bytecode compiled 9 files in 1ms", "Resolved 1 package"]
    seen = []
    for line in lines:
        progress.take(line)
        seen.append(progress.percent)
    assert seen == sorted(seen) and seen[4] == 25 and seen[-1] == 97


def test_the_reason_of_a_failure_in_the_words_of_the_program() -> None:
    printed = ["Using Python", "  × No solution found when resolving dependencies:", "  ╰─▶ Because a", "", "      b."]
    assert reason(printed) == "× No solution found when resolving dependencies:\n╰─▶ Because a\nb."
    assert reason(["Collecting a", "ERROR: No matching distribution found for a"]).startswith("ERROR: No matching")
    assert reason(["one", "two"]) == "one\ntwo" and reason([]) == ""


def test_pips_settings_are_uvs(tmp_path: Path) -> None:
    conf = tmp_path / "pip.conf"
    conf.write_text(
        f"[global]\nindex-url = https://a/simple\nextra-index-url =\n  https://b/simple\n  https://c/simple\n"
        f"find-links = {tmp_path} /not/there\ncert = /ca.pem\nproxy = http://p:1\n[install]\nindex-url = https://d/simple\n"
    )
    told = pip_settings.uv_variables({"PIP_CONFIG_FILE": str(conf), "PIP_TRUSTED_HOST": "b"})
    expected = {
        "UV_DEFAULT_INDEX": "https://d/simple",
        "UV_INDEX": "https://b/simple https://c/simple",
        "UV_FIND_LINKS": str(tmp_path),
        "SSL_CERT_FILE": "/ca.pem",
        "HTTP_PROXY": "http://p:1",
        "HTTPS_PROXY": "http://p:1",
        "UV_INSECURE_HOST": "b",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert told.items() >= expected.items()  # and what the machine's own files say
    given = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": "https://a",
        "UV_INDEX_URL": "https://own",
        "https_proxy": "x",
    }
    assert pip_settings.uv_variables({**given, "PIP_PROXY": "http://p"}) == {
        "UV_INDEX_URL": "https://own",
        "https_proxy": "x",
        "HTTP_PROXY": "http://p",
    }


def test_what_a_host_is_told_of_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@a/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "file:///here/simple https://b/simple")
    told = indexes.for_host({"HTTPS_PROXY": "http://p", "OTHER": "x"}, is_local=False)
    assert told.private == {"UV_DEFAULT_INDEX": "https://me:secret@a/simple"}
    assert told.variables == {
        "UV_INDEX": "https://b/simple",
        "HTTPS_PROXY": "http://p",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }
    assert told.names == ("https://a/simple", "https://b/simple") and told.left_out == ("file:///here/simple",)
    assert "file:///here/simple" in indexes.for_host({}, is_local=True).variables["UV_INDEX"]


def test_a_recipe_is_named_by_what_decides_and_checked() -> None:
    recipe = Recipe("packages", lock="a" * 64, python="3.11.7", source="x", interpreter="/one")
    same = Recipe("packages", lock="a" * 64, python="3.11.7", source="y", interpreter="/two", program="/uv")
    other = Recipe("packages", lock="a" * 64, python="3.11.7", extras=["gpu"])
    assert recipe.hash == same.hash != other.hash
    wire = in_specification(recipe)
    assert recipe_of(wire) == recipe and check(wire, "environment") == wire and check({}, "environment") == {}
    for wrong in (
        {**wire, "hash": "0" * 64},
        {**wire, "python": "3.12.1"},
        {**wire, "objects": {"../x": "0" * 40}},
        {**wire, "objects": {"-x": "0" * 40}},
        {**wire, "kind": "other"},
        {**wire, "variables": {"A B": "x"}},
        in_specification(Recipe("packages", python="3.11.7")),
        ["x"],
    ):
        with pytest.raises(BadRequest):
            check(wrong, "environment")


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ("export A=1 B='b c'\n\n# a comment\nexport C=$A/${B}", ({"A": "1", "B": "b c", "C": "1/b c"}, "")),
        (
            'export PATH=/opt/x/bin:$PATH\nexport D="$HOME/d" HOME=/elsewhere',
            ({"D": "/root/d", "HOME": "/elsewhere"}, "/opt/x/bin:"),
        ),
        ("export A=b", ({"A": "b"}, "")),
        (". {folder}/set.sh", ({"A": "1"}, "")),
        (". {folder}/nothing.sh", ({}, "")),
        ("export PATH=$PATH:/opt/x/bin", None),
        ("export PATH=/opt/x$PATH", None),
        ("export HF_TOKEN=x", None),
        ("export A=$ROOT/sets", None),
        ("export A=$(date)", None),
        ("export A=`date`", None),
        ("export A=$1", None),
        ("export A=$FOUNDATIONS_JOB_ID", None),
        ("export A=1; touch x", None),
        ("export A=1 &", None),
        ("[ -f env.sh ] && . ./env.sh || true", None),
        (". ./env.sh", None),
        ("mkdir -p /scratch/run", None),
        ("python3 -c 'import torch'", None),
        ("exit 0", None),
        ("module load cuda", None),  # there is no such program here
        (". {folder}/fails.sh", None),
        (". {folder}/exits.sh", None),
        (". {folder}/unset.sh", None),
        (". {folder}/touch.sh", None),
        (". {folder}/enter.sh", None),
        (". {folder}/mask.sh", None),
        (". {folder}/limit.sh", None),
        (". {folder}/stays.sh", None),
        (". {folder}/of-a-job.sh", None),
        (". {folder}/secret.sh", None),
    ],
)
def test_setup_lines_are_kept_as_variables_or_run_before_each_job(
    tmp_path: Path, lines: str, left: tuple[dict[str, str], str] | None
) -> None:
    files = {
        "set": "export A=1",
        "nothing": ":",
        "fails": "false",
        "exits": "exit 0",
        "unset": "unset HOME",
        "touch": "touch here",
        "enter": "cd /",
        "mask": "umask 7",
        "limit": "ulimit -n 50",
        "stays": "sleep 100 &",
        "of-a-job": "export A=gpu-$CUDA_VISIBLE_DEVICES",
        "secret": "export MY_PASSWORD=x",
    }
    for name, text in files.items():
        (tmp_path / f"{name}.sh").write_text(text + "\n")
    (tmp_path / "try").mkdir()
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {"PATH": "/usr/bin:/bin", "HOME": "/root"}
    steps = Steps(Try(str(tmp_path / "try")), {}, str(scratch))
    kept = setup_lines.run_once(lines.replace("{folder}", str(tmp_path)), env, steps, str(scratch))
    assert (kept and (kept.values, kept.path)) == left
    assert setup_lines.of_told(json.loads(json.dumps(setup_lines.to_told(kept)))) == kept
    assert ("before each job" in (tmp_path / "try/log").read_text()) == (left is None)


NOTHING = {"version": "0+unknown", "entry_points": {}}
SCRIPTS = r"""name = "p"
[project.scripts]
"../x" = "m:f"
broken = "m\n:f"
dots = "m..n:f"
code = "import os; m:f"
good = "m.n : f.g [e]"
"""


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        ("name='p'\nversion='1.2'\n", {"p": {"version": "1.2", "entry_points": {}}}),
        ("name='p'\ndynamic=['version']\n", {"p": NOTHING}),
        ("name='Q.r'\ndynamic=['version']\n", {"Q.r": {**NOTHING, "version": "3.1a1"}}),
        ("name=['p']\n", {}),
        ("name='../p'\n", {}),
        ("name='p'\nversion=1\n", {}),
        ("name='p'\nscripts=['x']\nentry-points='y'\n", {"p": NOTHING}),
        (SCRIPTS, {"p": {**NOTHING, "entry_points": {"console_scripts": {"good": "m.n : f.g [e]"}}}}),
    ],
)
def test_what_a_project_says_of_its_own_distribution(tmp_path: Path, project: str, expected: dict[str, object]) -> None:
    text = f"[build-system]\nrequires = []\n[project]\ndependencies = ['a']\n{project}"
    files = {"pyproject.toml": text, "t.py": "", "src/q_r/__about__.py": "# x\n__version__: str = '3.1a1'\n"}
    found = sources.found(frozen(tmp_path, files), ("python", "t.py"))
    assert found is not None and found.distributions == expected
