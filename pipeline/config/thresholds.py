"""What the indicator is compared with, where `refresh.threshold` is null: measured, in nats a row."""

from __future__ import annotations

LOGME_FALL = 0.025
"""Default threshold of policy logme, in nats a row. Measured in docs/indicators.md: with margin picks LogME falls by
more where features cannot tell the new rows apart; with random picks of debian_sections it wavers by up to 0.014."""

LOGME_PED_GAP = 0.12
"""Default threshold of policy logme_ped, in nats a row. Measured in docs/indicators.md with a 384-dimensional text
encoder; the gap grows with the width of the features, so narrow ones (64 dimensions and fewer) need a smaller one, and
with 1,280 of an image encoder it is passed at once. A refresh too many costs compute, not accuracy."""

READING_NOISE = 0.03
"""How far a gap must clear its threshold for one reading to count, in nats a row: readings at one label count differ by
a standard deviation of about 0.01 between seeds, on debian_sections with 100 to 1,600 labels."""
