"""Features of rows: shards of Arrow tables, and the immutable set that holds them."""

from __future__ import annotations

from pipeline.features.feature_set import FeatureSet, HeldShard, Shard
from pipeline.features.moments import Moments
from pipeline.features.table import feature_table, features_of

__all__ = ["FeatureSet", "HeldShard", "Moments", "Shard", "feature_table", "features_of"]
