"""Tiny seeded stand-ins for the text encoder, the audio encoder and the VAE: no download, same contracts.

They serve the demo and the tests. They carry enough for a mini model to learn from and nothing like the real ones'
knowledge.
"""
