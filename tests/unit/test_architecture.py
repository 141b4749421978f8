"""Who may import whom, what the agent may use, and what the command line loads."""

from __future__ import annotations

import ast
import functools
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT

CLIENT_LAYERS = [
    ["__main__"],
    ["cli"],
    ["ui", "mcp"],
    ["api", "sweeps"],
    ["services"],
    ["jobs"],
    ["submit", "sync"],
    ["environments"],
    ["session", "ingest", "analysis"],
    ["snapshot", "hosts", "store"],
    ["config"],
    ["text", "errors"],
]
"""Top first: a module imports its own layer and those below. So a front (cli, ui, mcp) only calls the core, and the
core is complete without one; what talks to a host or the store knows nothing of what is done with it."""
AGENT_LAYERS = [
    ["__main__"],
    ["daemon", "roles"],
    ["backends", "supervisor"],
    ["core"],
    ["gpu"],
    ["environments"],
    ["system"],
    ["storage"],
    ["protocol", "bootstrap"],
]
"""Top first: what decides (core) knows no process and no file; what is written down (storage) knows no decision."""
PURE = {
    *("protocol/jobs", "protocol/states", "protocol/ends", "protocol/lease", "protocol/process_identity"),
    *(
        "protocol/messages",
        "protocol/resources",
        "protocol/supervision",
        "protocol/framing",
        "protocol/checks",
        "protocol/wire",
        "protocol/facts",
        "protocol/urls",
        "protocol/recipes",
        "protocol/data_sets",
        "protocol/services",
        "protocol/models",
        "protocol/schedules",
        "protocol/chains",
        "protocol/names",
        "protocol/relaying",
    ),
    *("core/events", "core/state", "core/scheduler", "core/replicas"),
    *("gpu/inventory", "gpu/occupancy"),
    "supervisor/postmortem",
    "supervisor/traffic",
    "environments/progress",
}
"""Modules of the agent that get clocks, ids and files as arguments: they are tested without any."""
IMPURE_MODULES = {"os", "subprocess", "socket", "time", "threading", "pathlib"}
CLIENT_SEES = {
    "remote_agent",  # its version
    *(
        "remote_agent.protocol.jobs",
        "remote_agent.protocol.names",
        "remote_agent.protocol.states",
        "remote_agent.protocol.ends",
        "remote_agent.protocol.resources",
        "remote_agent.protocol.roles",
        "remote_agent.protocol.notices",
        "remote_agent.protocol.wire",
        "remote_agent.protocol.framing",
        "remote_agent.protocol.messages",
        "remote_agent.protocol.checks",
        "remote_agent.protocol.facts",
        "remote_agent.protocol.urls",
        "remote_agent.protocol.recipes",
        "remote_agent.protocol.data_sets",
        "remote_agent.protocol.services",
        "remote_agent.protocol.models",
        "remote_agent.protocol.schedules",
        "remote_agent.protocol.chains",
        "remote_agent.protocol.relaying",
    ),
    "remote_agent.protocol.errors",
    "remote_agent.system.multiplexer",  # both ends of a relay carry streams alike
    "remote_agent.environments.pip_settings",  # pip's settings mean the same to both sides
    "remote_agent.storage.log_cap",  # a bounded log is bounded in the same way on both sides
    "foundations.records",
    "foundations.contracts",
    "foundations.production",
}


def sources(package: str) -> Iterator[Path]:
    """Yield the files of a package; the template and the demo's training are examples, no parts."""
    for path in sorted((ROOT / package).rglob("*.py")):
        if not {"template", "demo"} & set(path.parts):
            yield path


@functools.cache
def imports(path: Path) -> tuple[tuple[str, bool], ...]:
    """Return (module, whether only for type checking) of each import in a file."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
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
    """Return the number of the layer of "package.module", top first."""
    for number, names in enumerate(layers):
        if module.split(".")[1] in names:
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
            if layer_of(".".join(parts[:2]), layers) < layer_of(f"{package}.{own}", layers):
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


FLAVOURS = {"numpy", "joblib", "pyarrow"}
"""What the model server imports besides its two dependencies, lazily; other libraries it imports by name."""


def test_the_model_server_knows_neither_client_nor_agent_and_has_two_dependencies() -> None:
    """And h11, which uvicorn brings."""
    for path in sources("foundations_serve"):
        ast.parse(path.read_text(), feature_version=(3, 8))
        for module, _ in imports(path):
            top = module.split(".")[0]
            allowed = {*sys.stdlib_module_names, "foundations_serve", "starlette", "uvicorn", "h11", *FLAVOURS}
            assert top in allowed, f"{path.relative_to(ROOT)} imports {module}"


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


def calls_and_words(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, text) of each string and each comparison in a file that is no docstring."""
    tree = ast.parse(path.read_text())
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.lineno, node.value
        elif isinstance(node, ast.Compare):
            yield node.lineno, ast.unparse(node)


FRONTS = ("cli", "ui", "mcp")
SQL = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE FROM|PRAGMA|CREATE TABLE|WITH \w+ AS)\b")
RULES = re.compile(r"\.owner\s*(==|!=|not in|in)|\.state\s*(==|!=|not in|in)\s*[\'\"(\[{]")


def test_no_sql_outside_of_the_store() -> None:
    for path in sources("foundations_tui"):
        if "store" not in path.parent.parts:
            for line, text in calls_and_words(path):
                assert not SQL.match(text), f"{path.relative_to(ROOT)}:{line} has SQL: it belongs into store/"


def test_no_front_decides_whose_a_job_is_or_which_states_are_final() -> None:
    """``jobs/ownership.py``, ``jobs/states.py`` and ``store/rows.py`` do."""
    for path in sources("foundations_tui"):
        if path.relative_to(ROOT / "foundations_tui").parts[0] not in FRONTS:
            continue
        for line, text in calls_and_words(path):
            of_a_host = "reachable" in text or "unknown" in text
            assert of_a_host or not RULES.search(text), f"{path.relative_to(ROOT)}:{line} decides: {text}"


def test_the_app_starts_verbs_as_processes_only_behind_the_colon_and_for_the_terminal() -> None:
    starters = {
        str(path.relative_to(ROOT / "foundations_tui" / "ui"))
        for path in sources("foundations_tui/ui")
        for _, text in calls_and_words(path)
        if text == "foundations_tui"
    }
    assert starters == {"actions/background.py"}
    verbs = {
        node.args[0].value
        for path in sources("foundations_tui/ui")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Command"
        and node.args
        and isinstance(node.args[0], ast.Constant)
    }
    assert verbs == {"shell"}, "what needs no terminal is an operation of the core, in a thread"


def test_screens_panes_and_actions_never_see_the_app() -> None:
    for folder in ("panes", "widgets", "screens", "actions", "models", "input"):
        for path in (ROOT / "foundations_tui" / "ui" / folder).glob("*.py"):
            for module, _ in imports(path):
                assert module != "foundations_tui.ui.app", f"{path.relative_to(ROOT)}: ui/workspace.py says what it may"


def test_no_module_imports_itself_in_a_circle_not_even_for_types() -> None:
    graph = {}
    for path in sources("foundations_tui"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        graph[name] = {
            module for module, _ in imports(path) if module.startswith("foundations_tui.") and module != name
        }
    graphlib.TopologicalSorter(graph).prepare()


def modules_imported(package: str) -> dict[str, set[str]]:
    """Return which modules of a package each of its modules imports when it runs, lazily or not."""
    graph = {}
    for path in sources(package):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        wanted = {module for module, for_types in imports(path) if not for_types}
        graph[name] = {module for module in wanted if module.startswith(package + ".") and module != name}
    return graph


@pytest.mark.parametrize("package", ["foundations_tui", "remote_agent", "foundations", "foundations_serve"])
def test_no_module_imports_itself_in_a_circle(package: str) -> None:
    graphlib.TopologicalSorter(modules_imported(package)).prepare()  # CycleError names a circle of any length


@pytest.mark.parametrize("package", ["foundations_tui", "remote_agent"])
def test_no_folder_imports_itself_in_a_circle(package: str) -> None:
    graph: dict[str, set[str]] = {}
    for module, others in modules_imported(package).items():
        folder = ".".join(module.split(".")[:2])
        graph.setdefault(folder, set()).update(".".join(other.split(".")[:2]) for other in others)
    for folder, others in graph.items():
        others.discard(folder)
    graphlib.TopologicalSorter(graph).prepare()


def test_the_house_has_few_rooms() -> None:
    """Twenty boxes in the client, twelve in the agent: what is new belongs into one of them."""
    for package, most in (("foundations_tui", 20), ("remote_agent", 12)):
        rooms = {path.relative_to(ROOT / package).parts[0].removesuffix(".py") for path in sources(package)}
        assert len(rooms - {"__init__"}) <= most, sorted(rooms)


@pytest.mark.parametrize("words", [["jobs"], ["stop", "nothing"], ["tag", "nothing", "x"]])
def test_no_verb_pays_for_sqlite_utils_once_the_store_is_made(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys; from foundations_tui.cli.main import run; run(sys.argv[1:]);"
        "print([m for m in ('sqlite_utils', 'pandas') if m in sys.modules])"
    )
    loaded = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "FOUNDATIONS_HOME": str(tmp_path)},
        )
        loaded.append(done.stdout.splitlines()[-1])
    assert loaded == ["['sqlite_utils']", "[]"]


@pytest.mark.parametrize("words", [["jobs"], ["--help"], ["submit", "--help"], ["status"], ["hosts"]])
def test_verbs_load_neither_textual_nor_ssh(words: list[str]) -> None:
    code = (
        "import sys; from foundations_tui.cli.main import run; run(sys.argv[1:]);"
        "print([m for m in ('textual', 'paramiko', 'fabric', 'git', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
