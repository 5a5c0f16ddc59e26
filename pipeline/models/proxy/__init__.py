"""What scores the pool: the proxy, the linear head, and what both offer."""

from __future__ import annotations

from asvp.models.head import Head
from asvp.models.proxy.proxy import Proxy, balanced_weights, fit_proxy
from asvp.models.proxy.scorer import Scorer

__all__ = ["Head", "Proxy", "Scorer", "balanced_weights", "fit_proxy"]
