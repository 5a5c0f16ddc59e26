"""Keys, tokens and passwords reach no message, no log and no file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_runs import tiny_config

from asvp.cli.app import main
from asvp.cli.ending import run_command
from asvp.config import DataConfig, build_config
from asvp.data import open_dataset
from asvp.errors import ConfigError, DataError, RowError
from asvp.progress import LoggedReporter, PlainReporter
from asvp.redaction import HIDDEN, holds_credentials, redact

SECRET = "qZ7vSecretNobodyMaySee9x"
WITH_SECRETS = {
    "password": f"s3://somebody:{SECRET}@bucket/pool.parquet",
    "token for a user": f"https://{SECRET}@host.example/pool.parquet",
    "aws": f"https://bucket.s3.amazonaws.com/p.parquet?X-Amz-Date=2026&X-Amz-Signature={SECRET}",
    "aws session": f"https://h.example/p?X-Amz-Security-Token={SECRET}&x=1",
    "azure": f"https://h.blob.core.windows.net/c/p.parquet?sv=2024-11-04&sp=r&sig={SECRET}",
    "google": f"https://storage.googleapis.com/b/p?X-Goog-Signature={SECRET}",
    "token": f"https://h.example/p.parquet?token={SECRET}",
    "key": f"https://h.example/p.parquet?a=1&key={SECRET}",
    "secret_key": f"s3://bucket/p.parquet?secret_key={SECRET}&region=eu",
    "password parameter": f"https://h.example/p?Password={SECRET}",
    "database": f"extension:postgresql://reader:{SECRET}@h.example/db",
    "escaped": f"https://h.example/p?X%2DAmz%2DSignature={SECRET}",
}
PLAIN = (
    *("s3://bucket/folder/pool.parquet?region=eu-central-1&endpoint_override=localhost:9000", "runs/a@b/c", "a:b@c"),
    *("abfs://container@account.dfs.core.windows.net/p.parquet", "hdfs://reader@host/p", "https://h.example/p?page=2"),
    *(
        "keyboard=monkey",
        "sentence-transformers/all-MiniLM-L6-v2",
        "Basic authentication is refused",
        "100%25",
    ),
)


@pytest.mark.parametrize("case", WITH_SECRETS)
def test_a_secret_in_an_address_is_seen_and_hidden_and_the_rest_stays(case: str) -> None:
    text = f"cannot be read: '{WITH_SECRETS[case]}', or so"
    assert holds_credentials(text)
    assert SECRET not in redact(text)
    rest = unquote(text).replace(SECRET, "").replace("somebody:", "").replace("reader:", "")
    assert redact(text).replace(HIDDEN, "") == rest
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize("text", PLAIN)
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert not holds_credentials(text)


@pytest.mark.parametrize(
    "text",
    [
        "{'Authorization': 'Bearer eyJhbGciOi9.abc123'}",
        "authorization: Basic dXNlcjpwYXNz",
        "token hf_AbCdEfGhIjKlMnOpQrStUv was refused",
        "The AWS Access Key Id AKIAIOSFODNN7EXAMPLE does not exist",
    ],
)
def test_secrets_of_known_forms_are_hidden(text: str) -> None:
    assert HIDDEN in redact(text)
    assert not any(part in redact(text) for part in ("eyJ", "dXNl", "AbCdEf", "IOSFODNN"))


def test_secrets_of_the_environment_are_hidden_and_places_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/home/somebody/token")
    monkeypatch.setenv("SHORT_TOKEN", "row")
    assert redact(f"rows of /home/somebody/token by {SECRET}") == f"rows of /home/somebody/token by {HIDDEN}"


@pytest.mark.parametrize("case", WITH_SECRETS)
@pytest.mark.parametrize(
    "key", ["data.pool", "data.test", "data.oracle", "data.root", "extraction.cache", "encoder.model"]
)
def test_a_configuration_with_credentials_is_refused_and_the_message_holds_none(key: str, case: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({}, [f"{key}={WITH_SECRETS[case]}"])
    told = f"{caught.value} {caught.value!r} {caught.value.value} {caught.value.args}"
    assert str(caught.value).startswith(f"{key}: holds a password, a token or a signature")
    assert SECRET not in told


@pytest.mark.parametrize("key", ["encoder.options", "selection.options"])
def test_credentials_in_options_are_refused_too(key: str) -> None:
    section, name = key.split(".")
    for options in ({"store": WITH_SECRETS["token"]}, {"deep": [{"key": "hf_AbCdEfGhIjKlMnOpQrStUv"}]}):
        with pytest.raises(ConfigError, match="holds a password"):
            build_config({section: {name: options}})


def test_an_error_loses_its_secrets_whatever_part_they_are_in() -> None:
    uri = WITH_SECRETS["aws"]
    errors = [
        DataError(uri, key="data", value=uri, mend=uri),
        DataError("no", value=[uri, {"a": uri}]),
        RowError(uri, row=1, place=uri, value=uri).moved(3),
    ]
    for error in errors:
        assert SECRET not in f"{error} {error.__dict__} {error.args} {error.__reduce__()}"


def test_signed_addresses_in_rows_are_not_told(tmp_path: Path) -> None:
    address = f"http://127.0.0.1:9/a.png?X-Amz-Signature={SECRET}"
    pq.write_table(pa.table({"image": [address] * 2, "label": ["x", "y"]}), tmp_path / "t.parquet")
    for options in ({}, {"allow_outside": True}):
        with pytest.raises(DataError) as caught:
            open_dataset(DataConfig(pool=str(tmp_path / "t.parquet"), test=None, image="image", **options)).pool.take(
                np.arange(2)
            )
        assert SECRET not in str(caught.value)
        assert "127.0.0.1" in str(caught.value)


def test_news_and_logs_lose_their_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reporter, log = LoggedReporter(PlainReporter()), tmp_path / "run.log"

    def work() -> None:
        with reporter.to_file(log, lambda: None):
            reporter.say(f"waiting for {WITH_SECRETS['azure']}")
            raise KeyError(WITH_SECRETS["aws"])

    with pytest.raises(KeyError):
        work()
    assert "waiting for https://" in log.read_text()
    assert "KeyError" in log.read_text()
    assert SECRET not in log.read_text() + capsys.readouterr().err


LEAKY = """
import os
from asvp.selection.contract import StrategyInfo

def leaking(pool, budget, options, generator):
    raise KeyError(f"no answer from {ADDRESS} with {os.environ['MY_API_KEY']}")

LEAKING = StrategyInfo(
    name="leaking", summary="None.", paper="none", run=leaking, inputs=("probabilities",), complexity="time O(1)"
)
"""
SPACE = """
arms:
  fine: {selection: {strategy: random}}
  leaky: {selection: {strategy: "leaky:LEAKING"}}
seeds: [0]
"""


def test_a_sweep_that_another_package_disturbs_writes_no_secret_anywhere(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(tiny_config(tmp_path, extraction={"cache": "cache"}).to_yaml())
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "leaky.py").write_text(f"ADDRESS = {WITH_SECRETS['aws']!r}\n{LEAKY}")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "MY_API_KEY": f"{SECRET}-of-the-environment"}
    command = [sys.executable, "-m", "asvp", "sweep", "space.yaml", "config.yaml", "--out", "out", "--address", "local"]
    done = subprocess.run(
        command,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    assert "no answer from" in done.stderr
    assert SECRET not in done.stdout + done.stderr
    out = tmp_path / "out"
    written = [path for folder in (out, tmp_path / "cache") for path in folder.rglob("*") if path.is_file()]
    assert {"config.yaml", "environment.json", "failure.json", "results.parquet", "report.html", "commands.jsonl"} <= {
        path.name for path in written
    }
    assert "no answer from" in (out / "runs" / "leaky-seed0" / "failure.json").read_text()
    for file in written:
        assert SECRET.encode() not in file.read_bytes(), file


def test_what_nobody_foresaw_is_told_in_full_but_for_its_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise KeyError(WITH_SECRETS["aws"])

    with pytest.raises(SystemExit) as ended:
        run_command(command)
    told = capsys.readouterr().err
    assert ended.value.code == 1
    assert "Traceback" in told
    assert "X-Amz-Signature=***" in told
    assert SECRET not in told


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_command_with_a_secret_in_its_configuration_is_refused_and_tells_none(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["asvp", command, "-s", f"encoder.model=hf://somebody:{SECRET}@models/encoder"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = "".join(capsys.readouterr())
    assert ended.value.code == 2
    assert "encoder.model: holds a password, a token or a signature" in told
    assert "by the environment" in told
    assert SECRET not in told
    assert not list(tmp_path.iterdir())
