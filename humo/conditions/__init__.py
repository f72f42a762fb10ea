"""From a user's text, images and speech to the tensors the transformer takes, exactly as the official code does."""
