"""Pre-trained encoders: found, loaded, and read for features."""

from __future__ import annotations

from asvp.models.encoder.encoder import Encoder, check_encoder, encoder_spec_fingerprint, resolve_dtype, resolve_encoder

__all__ = ["Encoder", "check_encoder", "encoder_spec_fingerprint", "resolve_dtype", "resolve_encoder"]
