"""The model: transformer, conditions, encoders, guidance, generation, checkpoints."""
