"""Pre-trained encoders: found, loaded, and read for features."""

from __future__ import annotations

from asvp.models.encoder.check import check_encoder
from asvp.models.encoder.encoder import Encoder
from asvp.models.encoder.fingerprint import encoder_spec_fingerprint
from asvp.models.encoder.inputs import BATCHES
from asvp.models.encoder.preprocessing import resolve_dtype, resolve_encoder

__all__ = ["BATCHES", "Encoder", "check_encoder", "encoder_spec_fingerprint", "resolve_dtype", "resolve_encoder"]
