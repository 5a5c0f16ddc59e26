"""Pre-trained encoders: found, loaded, and read for features."""

from __future__ import annotations

from asvp.models.encoder.encoder import Encoder, check_encoder, encoder_spec_fingerprint, resolve_dtype, resolve_encoder
from asvp.models.encoder.inputs import BATCHES

__all__ = ["BATCHES", "Encoder", "check_encoder", "encoder_spec_fingerprint", "resolve_dtype", "resolve_encoder"]
