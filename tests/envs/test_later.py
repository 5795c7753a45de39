"""Imports that are put off, in processes where nothing was imported before."""

import subprocess
import sys

DRAWING = """
import sys, types
from rlbench.envs.gymnax_adapter import gymnax
from gymnax.environments.misc import pong
print(sorted({"seaborn", "matplotlib.pyplot", "scipy.stats"} & set(sys.modules)))
import matplotlib.pyplot, seaborn
print(type(seaborn) is type(matplotlib.pyplot) is types.ModuleType)
print(pong.sns.cubehelix_palette is seaborn.cubehelix_palette)
print(pong.plt.subplots is matplotlib.pyplot.subplots)
"""
IMPORTED = """
import sys, wave
from rlbench.envs._later import later
with later("wave", "colorsys"):
    print(sys.modules["wave"] is wave)
    import colorsys as put_off
    print(vars(put_off).get("ONE_THIRD"))
print("colorsys" in sys.modules)
print(put_off.ONE_THIRD * 3)
import colorsys
print(colorsys is not put_off)
"""


def printed(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_gymnax_s_drawing_libraries_are_imported_when_it_draws_and_are_the_real_ones():
    assert printed(DRAWING) == ["[]", "True", "True", "True"]


def test_what_is_imported_already_is_left_alone_and_the_rest_comes_at_its_first_use():
    assert printed(IMPORTED) == ["True", "None", "False", "1.0", "True"]
