"""Examples in the documents run, and what they name is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from asvp.cli.app import cli
from asvp.config import build_config, load_config

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ["pipeline", "pipeline/*", "actors", "tune_spaces", "examples/*", "deploy"]
READMES = [place for folder in FOLDERS for place in sorted(ROOT.glob(f"{folder}/README.md"))]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md")), *READMES]
# docs/data.md has a test of its own, which also compares what the examples print.
WITH_PYTHON = ["cache.md", "encoders.md", "sweeps.md"]


def blocks(document: Path, language: str) -> list[str]:
    """Contents of the fenced blocks in a language ("" for none)."""
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", WITH_PYTHON)
def test_python_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    examples = blocks(ROOT / "docs" / name, "python")
    assert examples
    for example in examples:
        exec(compile(example, name, "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_yaml_examples_are_configurations(document: Path) -> None:
    for example in blocks(document, "yaml"):
        raw = yaml.safe_load(example)
        if "arms" not in raw:
            build_config(raw)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_exist_with_the_options_that_are_shown(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for line in re.findall(r"^asvp (.*)$", text, flags=re.MULTILINE):
        words = shlex.split(line.split("#")[0].replace("...", ""))
        command = cli
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        assert command is not cli, line
        shown = CliRunner().invoke(command, ["--help"]).output
        for option in (word.partition("=")[0] for word in words if word.startswith("-")):
            assert option in shown, f"{line}: {option}"
        overrides = [words[place + 1] for place, word in enumerate(words) if word == "-s"]
        load_config(None, overrides)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_files_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)", text):
        assert (document.parent / target).exists(), target


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_folders_that_a_readme_names_are_there(readme: Path) -> None:
    for name in re.findall(r"`([\w./-]+(?:\.py|\.yaml|\.md|/))`", readme.read_text(encoding="utf-8")):
        assert any((place / name).exists() for place in (readme.parent, ROOT, ROOT / "pipeline")), name


def test_every_folder_of_code_has_a_readme() -> None:
    folders = [path.parent for path in (ROOT / "pipeline").glob("*/__init__.py")]
    assert {*folders, ROOT / "actors", ROOT / "tune_spaces"} <= {path.parent for path in READMES}
