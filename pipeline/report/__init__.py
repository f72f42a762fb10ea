"""The report: a run as plain files that open from a disk, a web server or object storage, without a network."""
