"""The run folder: immutable parts, snapshots as commits, media by content. Nobody else reads parts."""
