"""Jobs on SLURM: what they ask for, what they do, what the queue says of them."""
