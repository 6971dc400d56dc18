"""A real SLURM on this machine alone, for tests and trials: started and ended in a folder of its own.

    python scripts/slurm/cluster.py up FOLDER [--nodes 2] [--cpus 4]      # then: export SLURM_CONF=FOLDER/slurm.conf
    python scripts/slurm/cluster.py down FOLDER

Needs root, and the programs of slurm-wlm and munge, which it installs from the distribution where apt is there. Nothing
in /etc is touched. Several nodes are several daemons on this machine. The partition `high` preempts `main`: a job gets
its signal, 20 s, and is requeued. There is no accounting, as in many a small cluster, and a requeued job starts
after seconds (`cred_expire`), not after two minutes.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "scontrol")
SETTINGS = """\
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=200000,batch_sched_delay=0
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
MinJobAge=3600
ReturnToService=2
"""
PARTITIONS = """\
PartitionName=main Nodes=ALL Default=YES State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=high Nodes=ALL State=UP PriorityTier=10 PreemptMode=OFF
"""


def installed() -> bool:
    return all(shutil.which(name) for name in PROGRAMS)


def install() -> None:
    """Raises subprocess.CalledProcessError or OSError where that can't be."""
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "-y", "--no-install-recommends", "slurm-wlm", "munge"]):
        subprocess.run(["apt-get", "-qq", *words], env=environment, check=True, capture_output=True, timeout=600)


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def up(folder: Path, nodes: int = 1, cpus: int = 4) -> Path:
    """Start munged, slurmctld and a slurmd a node; returns the path of slurm.conf, once all nodes are idle."""
    if not installed():
        install()
    folder = folder.absolute()
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    host, (port, *node_ports) = socket.gethostname().split(".")[0], free_ports(nodes + 1)
    names = [host] if nodes == 1 else [f"n{number}" for number in range(1, nodes + 1)]
    lines = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={cpus} State=UNKNOWN"
        for name, port in zip(names, node_ports, strict=True)
    ]
    conf = folder / "slurm.conf"
    text = SETTINGS.format(host=host, port=port, folder=folder) + "\n".join(lines) + "\n" + PARTITIONS
    conf.write_text(text)
    munge = folder / "munge"
    files = [f"--{name}-file={munge}/{name}" for name in ("key", "pid", "log", "seed")]
    subprocess.run(["munged", "--force", f"--socket={munge}/socket", *files], check=True)
    subprocess.run(["slurmctld", "-f", conf], check=True)
    for name in names:
        (folder / "spool" / name).mkdir(exist_ok=True)
        subprocess.run(["slurmd", "-f", conf, *(["-N", name] if nodes > 1 else [])], check=True)
    for _ in range(120):
        words = ["sinfo", "-h", "-p", "main", "-t", "idle", "-o", "%D"]
        told = subprocess.run(words, env=os.environ | {"SLURM_CONF": str(conf)}, capture_output=True, text=True).stdout
        if told.strip() == str(nodes):
            return conf
        time.sleep(0.5)
    raise TimeoutError(f"the nodes did not come up; see the logs in {folder}")


def down(folder: Path) -> None:
    """Cancel what runs, end the daemons; by the process ids that they have left in the folder."""
    environment = os.environ | {"SLURM_CONF": str(folder.absolute() / "slurm.conf")}
    ids = [file for file in (*folder.glob("slurm*.pid"), folder / "munge" / "pid") if file.is_file()]
    if (folder / "slurmctld.pid") in ids:
        subprocess.run(["scancel", "-u", "root"], env=environment, capture_output=True, timeout=60)
        time.sleep(2)
    for file in sorted(ids, key=lambda file: file.name == "pid"):  # munged last
        end(int(file.read_text()))


def end(pid: int) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
            for _ in range(50):
                os.kill(pid, 0)
                time.sleep(0.1)
        except ProcessLookupError:
            return


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("up", "down"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--cpus", type=int, default=4)
    words = parser.parse_args()
    if words.what == "down":
        down(words.folder)
    else:
        print(f"export SLURM_CONF={up(words.folder, words.nodes, words.cpus)}")


if __name__ == "__main__":
    main()
