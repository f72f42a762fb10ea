"""The stages of the flow, one file each."""
