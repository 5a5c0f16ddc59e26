"""How a run or a sweep was called is kept, call by call."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import asvp
from asvp.report.commands import COMMANDS, note_command, read_commands


def test_each_call_is_added_without_its_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/here/bin/asvp", "run", "my config.yaml", "-s", "data.pool=s3://me:word@there"])
    note_command(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/lib/asvp/__main__.py", "run", "--resume", "runs/a"])
    note_command(tmp_path)
    first, second = read_commands(tmp_path)
    assert first.command == "asvp run 'my config.yaml' -s data.pool=s3://***@there"
    assert (second.command, second.asvp) == ("asvp run --resume runs/a", asvp.__version__)
    assert first.at <= second.at


def test_a_program_of_ones_own_is_told_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["mine.py", "3"])
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3.11", "mine.py", "3"])
    note_command(tmp_path)
    assert [one.command for one in read_commands(tmp_path)] == ["python mine.py 3"]


def test_lines_that_cannot_be_read_are_left_out_and_earlier_versions_kept_none(tmp_path: Path) -> None:
    assert read_commands(tmp_path) == []
    (tmp_path / COMMANDS).write_text('nonsense\n{"at": "then", "asvp": "0", "command": "asvp run"}\n[]\n')
    assert [one.command for one in read_commands(tmp_path)] == ["asvp run"]
