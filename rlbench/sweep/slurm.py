"""A sweep as a plain array script for SLURM. Imports no jax."""

import shlex
import sys
from pathlib import Path

SECONDS_BEFORE = 300
"""How long before a task's time is over it is told, and gives its cells back."""

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{tasks}
#SBATCH --cpus-per-task={cores}
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={name}-%a.out
#SBATCH --signal=B:TERM@{seconds}
# Every task takes its share of the cells that are left, and goes on where it was when it is queued
# again. Add --partition, --account or --gres=gpu:1 as your cluster wants them.

cd {folder} || exit 1
{command} --shard "$SLURM_ARRAY_TASK_ID/{tasks}" &
sweep=$!
trap 'kill -TERM "$sweep"' TERM
wait "$sweep"
status=$?
while kill -0 "$sweep" 2>/dev/null; do  # a signal ends a wait before its process
    wait "$sweep"
    status=$?
done
if [ "$status" -eq 4 ]; then  # told to stop: what is left is for the next time
    scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
"""


def script(file: str, name: str, out: str, tasks: int, cores: int) -> str:
    """The script, to be given to `sbatch`.

    Args:
        file: the sweep file, or the name of a shipped one.
        name: the sweep's.
        out: as `--out`, on a disk that all tasks share.
        tasks: how many work at once.
        cores: of each, which runs as many cells at a time.
    """
    words = [sys.executable, "-m", "rlbench", "sweep", file, "--out", out, "--jobs", str(cores)]
    return SCRIPT.format(
        name=f"rlbench-{name}",
        tasks=tasks,
        cores=cores,
        seconds=SECONDS_BEFORE,
        folder=shlex.quote(str(Path.cwd())),
        command=shlex.join(words),
    )
