"""Who may import whom, what the agent may use, and what the command line loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

CLIENT_LAYERS = [
    ["__main__"],
    ["cli"],
    ["ui", "api"],
    ["comparing", "charts", "searches", "logdiff"],
    ["summaries", "cells"],
    ["imports"],
    ["submit"],
    ["actions", "placement", "shipping"],
    ["sync"],
    ["fetching", "patterns", "scalars", "trash"],
    ["runs", "moments", "ownership"],
    ["session"],
    ["snapshot", "hosts", "store", "examples"],
    ["listing"],
    ["sweeps"],
    ["arguments"],
    ["plumbing"],
    ["settings"],
    ["config"],
    ["toml"],
    ["eventfiles", "unpacking"],
    ["locations", "errors", "sparse", "terminal", "words", "processes", "progress"],
]
"""Top first: a module imports its own layer and those below."""
AGENT_LAYERS = [
    ["__main__"],
    [
        "daemon",
        "supervisor",
        "zygote",
        "startup",
        "handlers",
        "proxy",
        "transfer",
        "notify",
        "enter",
        "nested",
        "trial",
        "uninstall",
    ],
    ["engine", "autostart"],
    ["admission", "waits"],
    ["probe", "sampler", "notices", "recovery"],
    ["unfetched"],
    ["scheduler", "backends", "journal", "streams", "workspace", "environment", "objects", "launch", "owner"],
    ["login"],
    ["ending", "claims", "events", "syncer", "loglimit", "postmortem"],
    ["state", "occupancy", "procs", "paths", "peers", "files", "bootstrap", "crash"],
    ["gpus", "nonce"],
    ["messages"],
    ["protocol"],
    ["jobs"],
    ["checks"],
    ["errors"],
]
PURE = {"jobs", "protocol", "checks", "messages", "state", "scheduler", "gpus", "occupancy", "postmortem"}
IMPURE_MODULES = {"os", "subprocess", "socket", "time", "threading", "pathlib"}
CLIENT_SEES = {
    *("remote_agent.jobs", "remote_agent.protocol", "remote_agent.messages", "remote_agent.checks"),
    "remote_agent.errors",
    "remote_agent.loglimit",  # a bounded log is bounded in the same way on both sides
    "foundations.records",
}


def sources(package: str) -> Iterator[Path]:
    """Yield the files of a package; the template is an example, not a part."""
    for path in sorted((ROOT / package).rglob("*.py")):
        if "template" not in path.parts:
            yield path


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Yield (module, whether only for type checking) of each import in a file."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in for_types
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = (ROOT / full.replace(".", "/")).with_suffix(".py").exists() or (
                    ROOT / full.replace(".", "/")
                ).is_dir()
                yield (full if is_module else str(node.module)), id(node) in for_types


def layer_of(module: str, layers: list[list[str]]) -> int:
    for number, names in enumerate(layers):
        if module in names:
            return number
    raise AssertionError(f"{module} stands in no layer: give it one")


@pytest.mark.parametrize(
    ("package", "layers"), [("foundations_tui", CLIENT_LAYERS), ("remote_agent", AGENT_LAYERS)], ids=["client", "agent"]
)
def test_imports_go_one_way(package: str, layers: list[list[str]]) -> None:
    wrong = []
    for path in sources(package):
        own = path.relative_to(ROOT / package).with_suffix("").parts[0]
        if own == "__init__":
            continue
        for module, for_types in imports(path):
            parts = module.split(".")
            if parts[0] != package or len(parts) == 1 or for_types:
                continue
            if layer_of(parts[1], layers) < layer_of(own, layers):
                wrong.append(f"{path.relative_to(ROOT)} imports {module}")
    assert not wrong, "\n".join(wrong)


def test_the_client_sees_only_the_agents_nouns() -> None:
    for path in sources("foundations_tui"):
        for module, _ in imports(path):
            if module.split(".")[0] in ("remote_agent", "foundations"):
                assert module in CLIENT_SEES, f"{path.relative_to(ROOT)} imports {module}"


def test_agent_and_sdk_know_neither_each_other_nor_the_client() -> None:
    for package, others in (("remote_agent", ("foundations", "foundations_tui")), ("foundations", ("remote_agent",))):
        for path in sources(package):
            for module, _ in imports(path):
                assert module.split(".")[0] not in others, f"{path.relative_to(ROOT)} imports {module}"


ADAPTERS = {
    "foundations/submission.py": "foundations_tui",  # lazily, where the client is installed
    "foundations/__main__.py": "foundations_tui",  # the command line, where the client is installed
    "foundations/queries.py": "pandas",  # lazily, where it is installed
    "foundations/integrations/huggingface.py": "transformers",
}
"""What a file of the SDK may import besides the standard library; importing the SDK imports none of it."""


def test_agent_and_sdk_need_only_the_standard_library_of_python_3_8() -> None:
    for package in ("remote_agent", "foundations"):
        for path in sources(package):
            ast.parse(path.read_text(), feature_version=(3, 8))
            for module, _ in imports(path):
                top = module.split(".")[0]
                name = str(path.relative_to(ROOT))
                assert top in {*sys.stdlib_module_names, package, ADAPTERS.get(name)}, f"{name} imports {module}"


def test_the_agent_uses_neither_sqlite_nor_flock() -> None:
    """Its folder may lie on NFS."""
    for path in sources("remote_agent"):
        assert all(module.split(".")[0] != "sqlite3" for module, _ in imports(path))
        assert "flock(" not in path.read_text() and "lockf(" not in path.read_text()


def test_pure_modules_touch_nothing() -> None:
    for name in PURE:
        for module, _ in imports(ROOT / "remote_agent" / f"{name}.py"):
            assert module.split(".")[0] not in IMPURE_MODULES, f"remote_agent/{name}.py imports {module}"


def test_panes_never_see_a_host() -> None:
    for folder in ("panes", "widgets", "screens"):
        for path in (ROOT / "foundations_tui" / "ui" / folder).glob("*.py"):
            for module, _ in imports(path):
                assert not module.startswith(("foundations_tui.hosts", "foundations_tui.session", "paramiko", "fabric"))


def test_no_module_imports_itself_in_a_circle() -> None:
    for package in ("foundations_tui", "remote_agent", "foundations"):
        for path in sources(package):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for other, for_types in imports(path):
                if for_types or not other.startswith(package + "."):
                    continue
                other_path = (ROOT / other.replace(".", "/")).with_suffix(".py")
                if other_path.exists() and other_path != path:
                    back = [found for found, only_types in imports(other_path) if not only_types]
                    assert module not in back, f"{module} and {other} import each other"


@pytest.mark.parametrize("words", [["jobs"], ["--help"], ["submit", "--help"], ["status"], ["hosts"]])
def test_verbs_load_neither_textual_nor_ssh(words: list[str]) -> None:
    code = (
        "import sys; from foundations_tui.cli.main import run; run(sys.argv[1:]);"
        "print([m for m in ('textual', 'paramiko', 'fabric', 'git', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
