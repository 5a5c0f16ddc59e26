"""Secrets do not travel with what is shown; names do."""

from __future__ import annotations

import pytest

from asvp.config import build_config
from asvp.errors import ConfigError
from asvp.redaction import HIDDEN, holds_credentials, opens_something, redact, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://ID:se/cret@bucket/x?region=eu", "s3://***@bucket/x?region=eu"),
        ("https://user@host/a@b", "https://***@host/a@b"),
        ("ray://me:pass@head:10001", "ray://***@head:10001"),
        ("'https://h/a?X-Amz-Signature=ab&part=3&X-Amz-Credential=q'", "'https://h/a?X-Amz-Signature=***&part=3&X-Amz-Credential=***'"),
        ("abfs://h/a?sv=1&sig=z%3D", "abfs://h/a?sv=1&sig=***"),
        ("https://h/a?api_key=1&access_token=2&design=3", "https://h/a?api_key=***&access_token=***&design=3"),
        ("HF_TOKEN=abc asvp run --api-key 'a b' x", "HF_TOKEN=*** asvp run --api-key *** x"),
        ("-s encoder.max_tokens=128 -s budget=200+200x4", "-s encoder.max_tokens=128 -s budget=200+200x4"),
        ("hf://datasets/user/name@main, http://h:8080/a", "hf://datasets/user/name@main, http://h:8080/a"),
        ("http://h:8080/a@b and s3://b/c:d@e", "http://h:8080/a@b and s3://b/c:d@e"),
        ("MY_KEY=abc apikey=abc --secret-key abc --key abc", "MY_KEY=*** apikey=*** --secret-key *** --key ***"),
        ("is not of the form key=value", "is not of the form key=value"),
        ("the key data.pool holds no secret", "the key data.pool holds no secret"),
    ],
)  # fmt: skip
def test_what_opens_something_goes_and_the_rest_stays(text: str, shown: str) -> None:
    assert redact(text) == shown
    assert redact(shown) == shown


def test_texts_in_mappings_and_lists_lose_their_secrets_and_numbers_stay() -> None:
    given = {"pool": "s3://a:b@c", "paths": ["x", ("s3://a:b@c",)], "lr": 0.1, "cache": None, "api_key": "abc"}
    shown = {"pool": "s3://***@c", "paths": ["x", ("s3://***@c",)], "lr": 0.1, "cache": None, "api_key": HIDDEN}
    assert redacted(given) == shown


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_a_name_written_with_escapes_is_seen_through(levels: int) -> None:
    text = f"https://h.example/p?X-Amz-Signat%{'25' * (levels - 1)}75re=abc"
    assert holds_credentials(text)
    assert redact(text) == "https://h.example/p?X-Amz-Signature=***"


@pytest.mark.parametrize(
    "text",
    ["%" + "25" * 9_999 + "41", "a" * 99_999 + "://", "x://" + "a" * 99_999, "?" + "-" * 99_999 + "=", "://:" * 9_999],
    ids=["escapes", "scheme", "user", "parameter", "addresses"],
)  # fmt: skip
def test_text_written_to_be_slow_or_deep_is_looked_through_and_kept(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("name", ["api_key", "password", "store-secret", "aws_secret_access_key", "hf.auth_token"])
def test_text_under_a_name_that_opens_something_is_no_part_of_a_configuration(name: str) -> None:
    assert opens_something(name)
    with pytest.raises(ConfigError, match=f"encoder.options: holds {name}, which would be written") as caught:
        build_config({"encoder": {"options": {name: "mellon-of-the-gate"}}})
    assert "mellon" not in f"{caught.value} {caught.value.value}"


@pytest.mark.parametrize("name", ["pad_token", "pad_token_id", "key", "hidden_size", "num_key_value_heads"])
def test_names_that_models_have_in_their_configurations_are_taken(name: str) -> None:
    given = {"encoder": {"options": {name: "[PAD]"}}}
    assert build_config(given).encoder.options == given["encoder"]["options"]
