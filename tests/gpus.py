"""Marks of tests that need NVIDIA GPUs, which are skipped elsewhere."""

from __future__ import annotations

import pytest
import torch

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
