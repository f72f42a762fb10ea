"""The review: a run's clips on this machine's browser, with verdicts, what-ifs and audits."""
