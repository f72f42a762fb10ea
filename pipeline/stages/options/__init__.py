"""The options of each stage and the version of its code: apart from what measures, which takes long to load."""
