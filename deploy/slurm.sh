#!/usr/bin/env bash
# A sweep on a Ray cluster of its own inside a Slurm job: one Ray on every node, the sweep on the first.
#
#   sbatch deploy/slurm.sh /shared/sweep svp_vs_asvp debian-sections -s extraction.cache=/shared/cache
#
# The arguments are those of deploy/sweep.sh. Submit from the root of this repository, with the environment that holds
# asvp activated, in a file system that all nodes share; the sweep's directory and the cache lie in one too.
# Three minutes before its time is over the sweep is stopped, which keeps every finished round, and the job is queued
# again, to go on where it was: as often as it takes. To stop it for good: scancel --batch --signal=TERM JOB
#
# Edit: nodes, and what one node has.
#SBATCH --job-name=asvp
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=asvp-%j.log
set -euo pipefail

if [ ! -f deploy/sweep.sh ]; then
    echo "asvp: submit from the root of asvp's repository; there is no deploy/sweep.sh in $PWD" >&2
    exit 2
fi
for command in asvp ray python; do
    command -v "$command" >/dev/null || { echo "asvp: activate the environment with $command, then submit" >&2; exit 2; }
done

# A token of this job's own reaches all nodes in the environment of the steps, which nobody else can read.
RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
# /tmp/ray belongs to whoever came first on a node; the name is short because it holds sockets.
RAY_TMPDIR=/tmp/asvp-$SLURM_JOB_ID
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_TMPDIR RAY_USAGE_STATS_ENABLED=0
# Steps are not given the job's own --cpus-per-task since Slurm 22.05.
export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK

# Ports of this job's own, below those that the system hands out.
port=$((20000 + 3 * (SLURM_JOB_ID % 4000)))
# awk reads to the end: a reader that leaves early would end the script, by SIGPIPE.
head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | awk 'NR == 1')
# Where nodes reach each other by another network than their names say, HEAD_IP names the first one's address there.
ip=${HEAD_IP:-}
if [ -z "$ip" ]; then
    ip=$(getent ahostsv4 "$head" | awk 'NR == 1 {print $1}')
    case $ip in "" | 127.*) ip=$(hostname --all-ip-addresses | awk '{print $1}') ;; esac
fi
has=(--num-cpus "$SLURM_CPUS_PER_TASK" --num-gpus "${SLURM_GPUS_ON_NODE:-0}")

steps=()
sweep=
again=

# Traps call it.
# shellcheck disable=SC2329
stop_sweep() {
    interrupted=yes
    if [ -n "$sweep" ]; then kill -TERM "$sweep" 2>/dev/null || true; else exit 143; fi
}

stop_ray() {
    if [ ${#steps[@]} -gt 0 ]; then
        kill -TERM "${steps[@]}" 2>/dev/null || true
        wait "${steps[@]}" 2>/dev/null || true
    fi
    srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --overlap rm -rf "$RAY_TMPDIR" || true
}

trap stop_ray EXIT
trap 'stop_sweep' TERM INT
trap 'again=yes; stop_sweep' USR1

srun --nodes=1 --ntasks=1 --nodelist="$head" \
    ray start --head --block --node-ip-address="$ip" --port="$port" --ray-client-server-port=$((port + 1)) \
    --dashboard-host=127.0.0.1 --dashboard-port=$((port + 2)) "${has[@]}" &
steps+=($!)

# Waits until so many nodes are there, or the head's step has ended.
wait_for_nodes() {
    python - "$ip:$port" "$1" "${steps[0]}" <<'PYTHON'
import os
import socket
import sys
import time

address, wanted, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ends = time.monotonic() + 300


def wait_or_stop(missing):
    os.kill(step, 0)
    if time.monotonic() > ends:
        sys.exit(f"asvp: {missing} after 5 minutes; look at the output of the steps above")
    time.sleep(1)


try:
    while True:
        try:
            socket.create_connection(address.rsplit(":", 1), timeout=5).close()
            break
        except OSError:
            wait_or_stop(f"the head does not answer at {address}")
    import ray

    ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    while (there := sum(node["Alive"] for node in ray.nodes())) < wanted:
        wait_or_stop(f"{there} of {wanted} nodes are there")
except ProcessLookupError:
    sys.exit("asvp: Ray's head has ended; look at the output of its step above")
PYTHON
}

wait_for_nodes 1
if [ "$SLURM_JOB_NUM_NODES" -gt 1 ]; then
    others=$((SLURM_JOB_NUM_NODES - 1))
    srun --nodes=$others --ntasks=$others --ntasks-per-node=1 --exclude="$head" \
        ray start --block --address="$ip:$port" "${has[@]}" &
    steps+=($!)
    wait_for_nodes "$SLURM_JOB_NUM_NODES"
fi

bash deploy/sweep.sh "$@" --address "$ip:$port" &
sweep=$!
# A signal ends `wait` before the sweep has ended.
while :; do
    interrupted=
    status=0
    wait "$sweep" || status=$?
    [ -n "$interrupted" ] || break
done

if [ -n "$again" ] && [ "$status" -ge 128 ]; then
    trap - EXIT
    stop_ray
    echo "asvp: the job's time is nearly over; it is queued again and goes on where it was" >&2
    scontrol requeue "$SLURM_JOB_ID"
    exit 0
fi
exit "$status"
