"""Features of rows: shards of Arrow tables, and the immutable set that holds them."""

from __future__ import annotations

from asvp.features.feature_set import Features, FeatureSet, HeldShard, Shard
from asvp.features.moments import Moments
from asvp.features.side_by_side import SideBySide
from asvp.features.table import feature_table, features_of

__all__ = ["FeatureSet", "Features", "HeldShard", "Moments", "Shard", "SideBySide", "feature_table", "features_of"]
