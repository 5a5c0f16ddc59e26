"""Secrets do not travel with what is shown; names do."""

from __future__ import annotations

import pytest

from asvp.report.redaction import redacted, redacted_values


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
        ("the key data.pool holds no secret", "the key data.pool holds no secret"),
    ],
)  # fmt: skip
def test_what_opens_something_goes_and_the_rest_stays(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_texts_in_mappings_and_lists_lose_their_secrets_and_numbers_stay() -> None:
    given = {"pool": "s3://a:b@c", "paths": ["x", "s3://a:b@c"], "lr": 0.1, "cache": None}
    assert redacted_values(given) == {"pool": "s3://***@c", "paths": ["x", "s3://***@c"], "lr": 0.1, "cache": None}
