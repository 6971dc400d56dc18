"""What a stranger may put into a hydra node, for tests of those who read one."""

from __future__ import annotations

from typing import Any

ACTS: list[dict[str, Any]] = [
    {"_target_": "torch.load", "f": "evil.pt", "weights_only": False},
    {"_target_": "pandas.read_pickle", "filepath_or_buffer": "evil.pkl"},
    {"_target_": "pathlib.Path.write_text", "_args_": [{"_target_": "pathlib.Path", "_args_": ["ran"]}, "x"]},
    {"_target_": "logging.config.dictConfig", "config": {"version": 1, "handlers": {"h": {"()": "os.system"}}}},
]
NODES: list[dict[str, Any]] = [
    *({"callbacks": {"e": act}} for act in ACTS),
    {"launcher": {"_target_": "hydra_plugins.medtrain.SlurmLauncher", "setup": ["touch ran"]}},
    {"launcher": ACTS[0]},
    {"sweeper": ACTS[0]},
    {"sweeper": {"params": {"seed": "1,2"}}},
    {"run": {"dir": "elsewhere"}},
    {"sweep": {"dir": "elsewhere", "subdir": "../x"}},
    {"job": {"chdir": True}},
    {"job": {"env_set": {"LD_PRELOAD": "evil.so"}}},
    {"job_logging": {"version": 1, "handlers": {"h": {"()": "os.system", "command": "touch ran"}}}},
    {"hydra_logging": {"version": 1, "handlers": {"h": {"class": "logging.FileHandler", "filename": "ran"}}}},
    {"output_subdir": "elsewhere"},
    {"searchpath": ["pkg://evil"]},
    {"verbose": True},
]
