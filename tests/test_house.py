"""The house keeps its own rules: lint, types, layers, sizes, and pages that tell the truth."""

from __future__ import annotations

import ast
import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from medtrain.cli import main, parse
from medtrain.config import search
from medtrain.verbs import VERBS, help_text
from tests.repository import ROOT, commands, files, pages

READY = [name for name, verb in VERBS.items() if verb.ready]
LONGEST = 350
MOST = 7  # arguments of a function
VAGUE = {"found", "said", "told", "asked", "kept", "mine", "each", "who", "at"}  # they don't say what a thing is
# Places that exist on one machine only, and addresses of package indexes. Written so that this file holds none.
FOREIGN = "|".join(
    [r"(?<![\w.])/" + f"{top}/" for top in ("work", "root", "home", "Users", "opt")]
    + [
        re.escape(f"{host}.{end}")
        for host, end in (("pypi", "org"), ("pythonhosted", "org"), ("download.pytorch", "org"))
    ]
)


def tool(*command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-2000:]}"


def test_ruff() -> None:
    tool("ruff", "check", ".")


def test_format() -> None:
    tool("ruff", "format", "--check", ".")


def test_types() -> None:
    tool("mypy")


def test_rooms_know_only_what_lies_below_them() -> None:
    script = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]


def test_files_are_short() -> None:
    lengths = {p: len(p.read_text(encoding="utf-8").splitlines()) for p in files() if p.suffix == ".py"}
    assert not {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > LONGEST}


def test_no_two_test_files_have_one_name() -> None:
    of_no_package = [path for path in (ROOT / "tests").rglob("test_*.py") if not (path.parent / "__init__.py").exists()]
    names = [path.name for path in of_no_package]
    assert not {name for name in names if names.count(name) > 1}  # pytest would collect one of them alone


def _named(node: ast.AST) -> str | None:
    """Tell the name that a piece of syntax gives to a thing."""
    if isinstance(node, ast.Name | ast.Attribute):
        name = node.id if isinstance(node, ast.Name) else node.attr
        return name if isinstance(node.ctx, ast.Store) else None
    if isinstance(node, ast.arg):
        return node.arg
    return node.name if isinstance(node, ast.FunctionDef | ast.ClassDef) else None


def test_names_say_what_things_are() -> None:
    sources = [path for path in files() if path.suffix == ".py" and path.is_relative_to(ROOT / "medtrain")]
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sources}
    vague = [(str(path), _named(node)) for path, tree in trees.items() for node in ast.walk(tree)]
    assert not [(path, name) for path, name in vague if name in VAGUE]


def test_functions_take_few_arguments_but_for_builders_whose_arguments_are_keys() -> None:
    """What travels together is one thing; the signature of a `@checked` builder is its option's schema."""
    many = []
    for path in (ROOT / "medtrain").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and not any("checked" in ast.unparse(d) for d in node.decorator_list):
                of_call = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
                if len([arg for arg in of_call if arg.arg not in ("self", "cls")]) > MOST:
                    many.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}")
    assert not many


def test_no_path_of_a_machine_and_no_package_index() -> None:
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # a picture
        found += [f"{path.relative_to(ROOT)}: {m[0]}" for m in re.finditer(FOREIGN, text)]
    assert not found


def test_options_say_what_they_are() -> None:
    options = sorted((ROOT / "configs").glob("*/**/*.yaml"))
    assert options
    assert not [str(p.relative_to(ROOT)) for p in options if not search.first_comment(p)]


def test_package_directive_stands_first() -> None:
    for path in (ROOT / "configs").glob("*/*.yaml"):
        lines = path.read_text(encoding="utf-8").splitlines()
        at = [n for n, line in enumerate(lines) if "@package" in line]
        assert at in ([], [0]), f"{path}: Hydra reads '# @package' on the first line only"
        assert at or path.parent.name not in ("task", "experiment"), f"{path} needs '# @package _global_'"


@pytest.mark.parametrize("verb", READY)
def test_a_verb_has_a_page_and_two_examples(verb: str) -> None:
    page = ROOT / "docs" / "verbs" / f"{verb}.md"
    assert page.is_file()
    listed = re.search(r"examples:\n((?:  \S.*\n)+)", help_text(verb) + "\n")
    assert listed is not None
    examples = listed[1].split("\n")[:-1]
    assert len(examples) >= 2
    for example in examples:
        assert parse(shlex.split(example)[1:]).verb == verb


def test_pages_of_verbs_that_exist_only() -> None:
    assert {p.stem for p in (ROOT / "docs" / "verbs").glob("*.md")} == set(READY)


def test_every_task_has_a_page() -> None:
    assert {p.stem for p in (ROOT / "docs/tasks").glob("*.md")} == {
        p.stem for p in (ROOT / "configs/task").glob("*.yaml")
    }


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles], (
                f"{page.name}: {link}"
            )


def test_every_page_of_docs_can_be_found() -> None:
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    hidden = [p for p in (ROOT / "docs").rglob("*.md") if str(p.relative_to(ROOT / "docs")) not in index]
    assert [p.name for p in hidden] == ["index.md"]


@pytest.mark.parametrize("page", pages(), ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_in_pages_exist(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for line in commands(page):
        words = [w for w in shlex.split(line, comments=True) if not re.fullmatch(r"[A-Z_]+=.*", w)]
        if words[:1] == ["make"]:
            assert set(words[1:]) <= targets, line
        if words[:1] == ["medtrain"] and "MEDTRAIN_CONFIG_DIR=" not in line:
            _composes(words[1:], line, monkeypatch)


def _composes(argv: list[str], line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of a page, up to what it needs to be there: its words, or its whole configuration."""
    words = parse(argv)
    assert VERBS[words.verb].ready, line
    if words.help or words.version or words.verb == "list":
        return
    needs = ("run=", "runs=", "resume=", "init_from=", "experiment=", "trust=", "sweep.retry=")
    if words.cfg or any(token.startswith(needs) for token in words.tokens):
        return
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert main([*argv, "--cfg", "job"]) == 0, f"{line}\n{err.getvalue()}"


def test_errors_in_troubleshooting_have_an_answer() -> None:
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    parts = re.split(r"^### ", text, flags=re.MULTILINE)[1:]
    assert len(parts) >= 15
    for part in parts:
        title, _, body = part.partition("\n")
        assert title.startswith("`") and len(body.split()) >= 8, title
