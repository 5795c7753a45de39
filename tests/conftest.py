"""Shared by all tests: two host devices, one compile cache, and tiny real runs."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Before jax is imported anywhere. Two devices let every test of blocks run on one and on two.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
