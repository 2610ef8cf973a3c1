"""The house style, as far as a machine can hold it beyond the linter."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "models", "migrations", "workers", "ops")
MODULE_LINES, FUNCTION_LINES = 300, 40
# What may be longer, and why. A new entry needs a reason that is true of that file alone.
LONG_MODULES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
REASONLESS = {
    "ops/demo/run.py": "the report is printed there, which T201 says by itself",
    "ops/simulator/worlds/coherence.py": "a share of the simulated judge, explained by the lines around it",
    "ops/simulator/worlds/generator_mind.py": "shares of the simulated generator, explained by the lines around them",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules() -> Iterator[tuple[str, str, ast.Module]]:
    """Yield path, text and tree of every module of ours; revisions are generated lists and left out."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith("migrations/versions/"):
                text = path.read_text(encoding="utf-8")
                yield name, text, ast.parse(text)


def checked_files() -> Iterator[tuple[str, ast.Module]]:
    """Yield path and tree of every file with tests."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        yield path.relative_to(ROOT).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def listing(found: list[str]) -> str:
    """Put every finding on its own line, so that a failure shows them all."""
    return "\n  ".join(["these need a change:", *found])


def length(node: Function) -> int:
    """Count the lines of a function without its decorators."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def public(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield the public classes, functions and methods that a reader can reach from outside."""
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield node.name, node
            for inner in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) and not inner.name.startswith("_"):
                    yield f"{node.name}.{inner.name}", inner


def reasonless_skips(tree: ast.Module) -> Iterator[int]:
    """Yield the lines of skips and expected failures that do not say why."""
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in ("skip", "skipif", "xfail"):
            assert isinstance(node, ast.Call)
            reasons = [k.value for k in node.keywords if k.arg == "reason"]
            if called.attr != "skipif":
                reasons += node.args[:1]
            if not reasons or (isinstance(reasons[0], ast.Constant) and not reasons[0].value):
                yield node.lineno
    for decorated in (n for n in ast.walk(tree) if isinstance(n, (ast.FunctionDef, ast.ClassDef))):
        for mark in decorated.decorator_list:
            if isinstance(mark, ast.Attribute) and mark.attr in ("skip", "xfail"):
                yield mark.lineno


def bare_marks() -> Iterator[tuple[str, str]]:
    """Yield each line that silences a linter without a code or a reason, and its file."""
    for name, text, _ in modules():
        for number, line in enumerate(text.splitlines(), 1):
            for mark, reason in (("# noqa", " - "), ("# type: ignore", "# ")):
                _, found, rest = line.partition(mark)
                code, _, why = rest.partition(reason)
                if found and not (code.strip(" :[]") and why.strip()):
                    yield f"{name}:{number} {line.strip()}", name


def test_no_module_is_longer_than_300_lines() -> None:
    """A file is one idea."""
    long = [
        f"{name}: {lines} lines"
        for name, text, _ in modules()
        if (lines := len(text.splitlines())) > MODULE_LINES and name not in LONG_MODULES
    ]

    assert not long, listing(long)


def test_no_function_is_longer_than_40_lines() -> None:
    """A function is one concern."""
    long = [
        f"{name}:{node.lineno} {node.name}: {length(node)} lines"
        for name, _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, Function) and length(node) > FUNCTION_LINES and f"{name}:{node.name}" not in LONG_FUNCTIONS
    ]

    assert not long, listing(long)


def test_exceptions_are_still_needed() -> None:
    """An exception leaves the list together with its cause."""
    long_modules = {name for name, text, _ in modules() if len(text.splitlines()) > MODULE_LINES}
    long_functions = {
        f"{name}:{node.name}"
        for name, _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, Function) and length(node) > FUNCTION_LINES
    }

    assert set(LONG_MODULES) - long_modules == set()
    assert set(LONG_FUNCTIONS) - long_functions == set()


def test_everything_public_says_what_it_does() -> None:
    """Every module, and every public class, function and method has a docstring."""
    silent = [name for name, _, tree in modules() if not ast.get_docstring(tree)]
    for name, _, tree in modules():
        silent += [f"{name}: {what}" for what, node in public(tree) if not ast.get_docstring(node)]  # type: ignore[arg-type]  # only documented kinds

    assert not silent, listing(silent)


def test_every_test_states_its_fact_in_a_sentence() -> None:
    """A test's docstring is its fact, and ends as a sentence does."""
    silent = [
        f"{name}:{node.lineno} {node.name}"
        for name, tree in checked_files()
        for node in ast.walk(tree)
        if isinstance(node, Function)
        and node.name.startswith("test_")
        and not (ast.get_docstring(node) or "").split("\n\n", maxsplit=1)[0].rstrip().endswith((".", "?", "!"))
    ]

    assert not silent, listing(silent)


def test_every_skip_says_why() -> None:
    """A skipped or failing test names its reason."""
    bare = [f"{name}:{line}" for name, tree in checked_files() for line in reasonless_skips(tree)]

    assert not bare, listing(bare)


def test_every_exception_to_a_linter_says_why() -> None:
    """A `noqa` or `type: ignore` names its code and, after it, its reason."""
    found = dict(bare_marks())
    bare = [line for line, name in found.items() if name not in REASONLESS]

    assert not bare, listing(bare)
    assert set(REASONLESS) - set(found.values()) == set()
