"""Choices among clips that are otherwise kept: one of several copies, and no more than a cap of any source or person.

All are made by what is in the rows, and ties by the hash of the id, so that no order of work changes them.
"""

import duckdb

from pipeline.decide.config import Caps
from pipeline.store.relations import Relations

DUPLICATE_RULE = "duplicates: a better copy is kept"


def cap_rules(caps: Caps) -> list[str]:
    """The caps in force, as decisions name them, in their order."""
    given = {"a source": caps.source, "an identity": caps.identity}
    return [f"caps: at most {cap} of {what}" for what, cap in given.items() if cap is not None]


def create_grouped(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table `grouped` (id, group): clips that another one stands for, since they are copies of it."""
    connection.execute('CREATE OR REPLACE TABLE grouped AS SELECT id, "group" FROM duplicates WHERE id <> "group"')


def create_copies(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the table `copies` (id, group, worth, elsewhere) of clips of which there are several, in any run. Reads the
    table `grouped`."""
    connection.execute(
        """CREATE OR REPLACE TABLE copies AS
           SELECT id, "group", worth, CASE WHEN duplicate_run IS NOT NULL
                  THEN 'kept copy = ' || duplicate_of || ' in ' || duplicate_run END AS elsewhere
           FROM duplicates WHERE duplicate_run IS NOT NULL OR "group" IN (SELECT DISTINCT "group" FROM grouped)"""
    )


def create_surplus(relations: Relations, caps: Caps) -> None:
    """Make the table `surplus` (id, rule, values): clips of the view `contested` that are too many."""
    execute = relations.connection.execute
    execute('CREATE OR REPLACE TABLE surplus (id VARCHAR, rule VARCHAR, "values" VARCHAR)')
    execute(
        "INSERT INTO surplus SELECT id, ?, elsewhere FROM copies JOIN contested USING (id) WHERE elsewhere IS NOT NULL",
        [DUPLICATE_RULE],
    )
    # The higher tier first, then what the duplicates say is the best, then the more detailed, then the smaller id.
    execute(
        """INSERT INTO surplus SELECT id, ?, 'kept copy = ' || best FROM (
               SELECT id, first_value(id) OVER (PARTITION BY copies."group" ORDER BY
                      contested.tier <> 'sync', is_duplicate, coalesce(copies.worth, 0) DESC, id) AS best
               FROM copies JOIN contested USING (id) JOIN duplicates USING (id) WHERE elsewhere IS NULL)
           WHERE id <> best""",
        [DUPLICATE_RULE],
    )
    kept = """(SELECT id, tier, split_part(id, '_', 1) AS source FROM contested
               WHERE id NOT IN (SELECT id FROM surplus))"""
    if caps.source is not None:
        execute(_over(f"SELECT id, tier, source AS shared FROM {kept}"), ["a source", caps.source])
    if caps.identity is not None:
        of_people = f"""SELECT DISTINCT kept.id, tier, identity AS shared FROM {kept} AS kept
                        JOIN identities ON identities.clip_id = kept.id WHERE identity IS NOT NULL"""
        execute(_over(of_people), ["an identity", caps.identity])


def _over(shared: str) -> str:
    """SQL that adds those beyond the cap in any group that they belong to: the sync tier goes first, then the hash."""
    return f"""INSERT INTO surplus SELECT id, 'caps: at most ' || cap || ' of ' || what, 'place = ' || max(place) FROM (
                   SELECT id, row_number() OVER (PARTITION BY shared ORDER BY tier <> 'sync', md5(id), id) AS place
                   FROM ({shared})), (SELECT ? AS what, ? AS cap)
               WHERE place > cap GROUP BY id, cap, what"""
