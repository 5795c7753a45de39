"""Shared by all tests: two host devices, one compile cache, and tiny real runs."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Before jax is imported anywhere. Two devices let every test of blocks run on one and on two.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".pytest_cache" / "xla"))
# Small programs too, as `rlbench run` does: hundreds of processes are started here.
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
