"""What jax finds and computes, as a line of JSON: `python -m rlbench.doctor.probe`.

In a process of its own, as a broken jaxlib can end the one that imports it.
"""

import json
from typing import Any

LEFT = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
RIGHT = [[0, 1], [2, 3], [4, 5], [6, 7]]
PRODUCT = [[28, 34], [76, 98], [124, 162]]
THREEFRY = (
    ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF,) * 2, (0xFFFFFFFF,) * 2, (0x1CB996FC, 0xBB002BE7)),
    ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
)
"""(key, counter, result) of 20 rounds, as published with Random123 (its kat_vectors)."""


def wrong_on(device: Any) -> list[str]:
    """What a device computes otherwise than is known."""
    import jax
    import jax.numpy as jnp
    from jax.extend.random import threefry_2x32

    wrong = []
    left, right = (jax.device_put(jnp.array(x, jnp.int32), device) for x in (LEFT, RIGHT))
    if jax.jit(jnp.matmul)(left, right).tolist() != PRODUCT:
        wrong.append("a product of two integer matrices")
    for key, counter, result in THREEFRY:
        both = [jax.device_put(jnp.array(x, jnp.uint32), device) for x in (key, counter)]
        if jax.jit(threefry_2x32)(*both).tolist() != list(result):
            wrong.append("Threefry-2x32, which all random numbers come from")
            break
    return wrong


def probe() -> dict[str, Any]:
    """The devices and what is wrong with them, or the error that jax began with."""
    try:
        import jax

        devices = jax.local_devices()
        wrong = [told for device in devices for told in wrong_on(device)]
    except Exception as error:  # whatever a broken install raises is to be told
        return {"error": f"{type(error).__name__}: {error}".rstrip(": ")}
    return {
        "platform": devices[0].platform,
        "kind": devices[0].device_kind,
        "count": len(devices),
        "wrong": sorted(set(wrong)),
    }


if __name__ == "__main__":
    print(json.dumps(probe()))
