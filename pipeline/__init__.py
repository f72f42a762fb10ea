"""Footage to shards: the flow, its stages and backends, the engine, the store, decisions, packing, the report."""
