"""What the documents say holds: commands parse, options and tools exist, links have an end."""

import ast
import re
import shlex
import tomllib
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "docs").rglob("*.md"))
DOCUMENTS = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES]
LINKED = [*DOCUMENTS, ROOT / "examples" / "README.md"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
(REPOSITORY,) = re.findall(r"^repo_url: (.*)$", (ROOT / "mkdocs.yml").read_text(), re.M)

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
SPAN = re.compile(r"`([^`]+)`")
FOREIGN = {"--skip-fuse-bn"}
"""Options of other programs (onnxsim) that the documents name."""


def named(paths):
    """Parameters with the documents' names for their identities."""
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in paths]


def text_of(path):
    """A document."""
    return path.read_text(encoding="utf-8")


def blocks(path, *languages):
    """The code blocks of a document, of all languages or of some; joined lines are one."""
    found = FENCE.findall(text_of(path))
    return [code.replace("\\\n", " ") for _, name, code in found if name in (languages or {name})]


def prose(path):
    """A document without its code blocks."""
    return FENCE.sub("", text_of(path))


def spans(path):
    """What a document has between backticks, on one line each."""
    return [" ".join(span.split()) for span in SPAN.findall(prose(path))]


def command_line():
    """The group of commands that the script runs."""
    return import_module("zqc.cli.main").cli


def parse(words):
    """Parse the words behind ``zqc``; a bad option, choice or number is a ``click.UsageError``."""
    group, (name, *rest) = command_line(), words
    command = group if name.startswith("-") else group.commands.get(name)
    if command is None:
        raise click.UsageError(f"no such command {name}")
    with suppress(click.exceptions.Exit):  # of --help and --version
        command.make_context(name, words if command is group else rest)


def lines(path):
    """The command lines of a document, in its blocks or between backticks, and in which of them."""
    for code in blocks(path):
        for line in code.splitlines():
            words = (
                shlex.split(line.strip().removeprefix("$ "), comments=True) if "zqc" in line else []
            )
            if words[:1] == ["zqc"]:
                yield words[1 : words.index(">") if ">" in words else None], True
    for span in spans(path):
        if span.startswith("zqc "):
            yield shlex.split(span)[1:], False


def options_of(command):
    """Every option of a command, by each of its spellings."""
    return {
        spelling: option
        for option in command.params
        if isinstance(option, click.Option)
        for spelling in (*option.opts, *option.secondary_opts)
    }


def slugs(path):
    """The anchors of the headings of a document, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.*)$", prose(path), re.M)
    return [re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles]


def test_the_readme_is_one_page():
    """README.md has 8,192 bytes at most."""
    assert len(README.read_bytes()) <= 8192


@pytest.mark.parametrize("path", named(DOCUMENTS))
def test_command_lines_parse(path):
    """Every `zqc …` line is one that zqc takes; in a sentence, required parts may be left out."""
    for words, whole in lines(path):
        try:
            parse(words)
        except click.MissingParameter:
            assert not whole, f"zqc {' '.join(words)}: something is missing"
        except click.UsageError as error:
            pytest.fail(f"zqc {' '.join(words)}: {error.format_message()}")


@pytest.mark.parametrize("path", named(DOCUMENTS))
def test_options_exist(path):
    """Every option between backticks is one of zqc or of a tool, with a value that it can have."""
    compile_options = options_of(command_line().commands["compile"])
    known = FOREIGN.union(*map(options_of, command_line().commands.values()))
    for tool in (ROOT / "tools").rglob("*.py"):
        found = re.findall(r'"((?:--[\w-]+/?)+)"', text_of(tool))
        known.update(*(names.split("/") for names in found))
    for span in spans(path):
        if not re.match(r"-{1,2}[a-z]", span):
            continue
        words = shlex.split(span)
        names = [word.partition("=")[0] for word in words if word.startswith("-")]
        assert set(names) <= known, f"{span}: no such option"
        if len(words) > len(names) and set(names) <= set(compile_options):
            parse(["compile", "MODEL", *words])


def test_every_option_of_a_recipe_is_explained():
    """docs/recipe.md names every option of `zqc compile` and of `zqc synthesize`."""
    explained = {span.split()[0].partition("=")[0] for span in spans(ROOT / "docs" / "recipe.md")}
    for name in ("compile", "synthesize"):
        options = options_of(command_line().commands[name])
        missing = {option for option in options if option.startswith("--")} - explained
        assert not missing - {"--help"}, f"zqc {name}"


@pytest.mark.parametrize("path", named(LINKED))
def test_links_lead_somewhere(path):
    """Every link to a file or a heading of this repository, relative or absolute, has its end."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        place, _, anchor = target.partition("#")
        if place.startswith(REPOSITORY):
            inside = re.fullmatch(r"/(?:blob|tree)/main/(.+)", place.removeprefix(REPOSITORY))
            end = ROOT / inside[1] if inside else ROOT
        elif re.match(r"\w+:", place):
            continue
        else:
            end = path.parent / place if place else path
        assert end.exists(), f"{target}: no such file"
        assert not anchor or anchor in slugs(end), f"{target}: no such heading"


@pytest.mark.parametrize("path", named(DOCUMENTS[:3]))
def test_links_hold_everywhere(path):
    """README, CONTRIBUTING and CHANGELOG also stand on PyPI and on the site: no relative link."""
    assert not re.findall(r"\]\((?!https://|#)[^)]*\)", prose(path))


def test_the_repository_has_one_address():
    """Documents and project metadata give the repository the address that mkdocs.yml has."""
    owner = REPOSITORY.rpartition("/")[0] + "/"
    said = [
        address for path in LINKED for address in re.findall(rf"{owner}[^)\s>]*", text_of(path))
    ]
    said += [url for url in PROJECT.get("urls", {}).values() if url.startswith(owner)]
    assert all(address.startswith(REPOSITORY) for address in said)


def test_the_site_holds_every_page():
    """Every page is in the navigation, and what pages include is there."""
    listed = re.findall(r"^ +- [^:]+: (\S+\.md)$", text_of(ROOT / "mkdocs.yml"), re.M)
    assert sorted(listed) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES)
    included = [name for page in PAGES for name in re.findall(r'--8<-- "([^":]+)', text_of(page))]
    assert set(included) >= {"README.md", "CONTRIBUTING.md", "CHANGELOG.md"}
    assert all((ROOT / name).is_file() for name in included)


@pytest.mark.parametrize("path", named(LINKED))
def test_modules_that_are_run_exist(path):
    """Every `python -m tools.…` names a module, and no tool is started by its path."""
    for name in re.findall(r"python -m (tools[\w.]*\w)", text_of(path)):
        assert ROOT.joinpath(*name.split(".")).with_suffix(".py").is_file(), name
    assert not re.findall(r"python tools/", text_of(path))


@pytest.mark.parametrize("path", named(DOCUMENTS))
def test_python_is_python(path):
    """Every Python block parses."""
    for code in blocks(path, "python"):
        ast.parse(code)


def test_recipes_have_known_keys():
    """The TOML files of docs/recipe.md set options that exist."""
    from zqc import Recipe

    known = {"preset", "input_range", "mean", "std", *Recipe.__dataclass_fields__}
    tables = [tomllib.loads(code) for code in blocks(ROOT / "docs" / "recipe.md", "toml")]
    assert tables
    assert all(set(table) <= known for table in tables)


def test_targets_are_listed():
    """The table of docs/targets.md is what `zqc targets` says of zqc's own targets."""
    from zqc import targets

    page = text_of(ROOT / "docs" / "targets.md")
    for target in map(targets.find, targets.BUILT_IN):
        row = f"| `{target.name}` | {target.summary} | {' '.join(target.guarantees)} |"
        assert row in page, f"the row of docs/targets.md would be: {row}"
