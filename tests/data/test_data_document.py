"""Every example in docs/data.md runs and gives what it says."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import yaml

from asvp.config import build_config
from asvp.data import open_dataset

DOCUMENT = Path(__file__).parents[2] / "docs" / "data.md"


def blocks(text: str) -> list[tuple[str, str]]:
    """Language and content of each fenced block."""
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def promised(code: str) -> str:
    """What the comments after print calls, and the comment lines at the end, say is printed."""
    return "\n".join(re.findall(r"(?:^print\(.*\)  |^)# (.*)$", code, flags=re.MULTILINE))


def test_examples_run_and_print_what_they_say(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    found = blocks(DOCUMENT.read_text(encoding="utf-8"))
    assert {language for language, _ in found} == {"python", "yaml"}
    for language, content in found:
        if language == "yaml":
            data = open_dataset(build_config(yaml.safe_load(content)).data)
            assert len(data.pool.take(np.arange(2))) == 2
            assert len(data.test) == len(data.test_labels)
        else:
            exec(compile(content, str(DOCUMENT), "exec"), names)
            assert capsys.readouterr().out.strip() == promised(content)
