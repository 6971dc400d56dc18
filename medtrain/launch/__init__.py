"""Processes of a job: which there are, who starts and ends them, what a cluster's queue says of them."""

from medtrain.launch.processes import global_rank as global_rank
