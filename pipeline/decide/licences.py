"""What binds the use of each source: the strictest of all places where it was found."""

from pipeline.stages.crawl import LICENCES_FROM_STRICTEST
from pipeline.store.relations import Relations, quoted


def create_uses(relations: Relations) -> None:
    """Make the table `uses`: source (id), licence, consent. A licence is as `pipeline.stages.crawl.strictest` says;
    a consent counts only where every place has one."""
    ranks = " ".join(f"WHEN {quoted(name)} THEN {rank}" for rank, name in enumerate(LICENCES_FROM_STRICTEST))
    rank = f"CASE WHEN licence IS NULL THEN -2 ELSE CASE lower(licence) {ranks} ELSE -1 END END"
    relations.connection.execute(
        f"""CREATE OR REPLACE TABLE uses AS
            SELECT source_id AS id,
                   CASE WHEN bool_or(licence IS NULL) THEN NULL ELSE min_by(licence, ({rank}, licence)) END AS licence,
                   CASE WHEN bool_or(consent IS NULL) THEN NULL ELSE min(consent) END AS consent
            FROM locations WHERE source_id IS NOT NULL GROUP BY source_id"""
    )
