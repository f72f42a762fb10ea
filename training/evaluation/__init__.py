"""Generated videos measured: which of two checkpoints is better, by how much, and how surely."""
