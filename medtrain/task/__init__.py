"""LightningModules: what is trained and how it is judged; they take their parts ready built."""
