"""From shards to weights: the data, the objective, the stages, the loop."""
