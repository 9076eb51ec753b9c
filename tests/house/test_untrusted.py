"""No call in the sources runs text, unpickles what came from outside, or loads a model without saying whom it trusts.

What is allowed stands in the tables, with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tracked_files import text_of, tracked

RUNS_TEXT = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "builtins.eval", "builtins.exec"}
UNPICKLES = {
    *("pickle.load", "pickle.loads", "torch.load", "joblib.load", "marshal.load", "marshal.loads", "shelve.open"),
    *("dill.load", "dill.loads", "pd.read_pickle", "pandas.read_pickle", "yaml.load", "yaml.unsafe_load"),
}
ALLOWED = {
    # Inside the sandbox, where model-written programs run.
    "rlpost/sandbox/guest_program.py": {"exec", "compile"},
    "rlpost/sandbox/guest_server.py": {"exec", "compile"},
    "rlpost/sandbox/guest_tests.py": {"exec"},
    "rlpost/sandbox/assert_units.py": {"compile"},
    "rlpost/sandbox/launcher_main.py": {"__import__"},
    # From the parent process, over a socket pair that nobody else holds.
    "rlpost/scoring/worker_main.py": {"pickle.load"},
    # What the same process has pickled just before.
    "rlpost/workbench/self_test.py": {"pickle.loads"},
}
LOADERS = {"from_pretrained", "from_config"}
"""Methods that may run Python of a model directory."""


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    """Name as written, and the call."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def options(call: ast.Call) -> dict[str | None, str]:
    return {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}


def dangers(source: str) -> Iterator[str]:
    for name, call in calls(source):
        given = options(call)
        is_plain = name == "torch.load" and given.get("weights_only") == "True"
        if name in RUNS_TEXT | UNPICKLES and not is_plain:
            yield name
        if name in {"np.load", "numpy.load"} and given.get("allow_pickle") != "False":
            yield f"{name} without allow_pickle=False"
        if given.get("shell", "False") != "False":
            yield f"{name} with a shell"
        if name.rpartition(".")[2] in LOADERS and "trust_remote_code" not in given:
            yield f"{name} without trust_remote_code"
        if name.startswith("yaml.") and given.get("Loader", "yaml.BaseLoader") != "yaml.BaseLoader":
            yield f"{name} with a loader that makes objects"


def test_the_sources_run_no_text_and_unpickle_nothing_from_outside() -> None:
    sources = [*tracked("rlpost/**/*.py"), *tracked("rewards/**/*.py")]
    assert len(sources) > 150
    found = {str(path): set(dangers(text_of(path))) for path in sources}
    assert {path: names for path, names in found.items() if names} == ALLOWED


def test_each_danger_is_seen() -> None:
    source = (
        "eval('1'); pickle.loads(x); np.load(x); np.load(x, allow_pickle=True); run('ls', shell=True)\n"
        "AutoModel.from_pretrained(x); torch.load(x); torch.load(x, weights_only=True)\n"
        "yaml.compose(x, Loader=yaml.Loader)\n"
    )
    assert list(dangers(source)) == [
        "eval",
        "pickle.loads",
        "np.load without allow_pickle=False",
        "np.load without allow_pickle=False",
        "run with a shell",
        "AutoModel.from_pretrained without trust_remote_code",
        "torch.load",
        "yaml.compose with a loader that makes objects",
    ]
