"""Whether a run is in a state that a command can start from."""

from pipeline.config import CurateConfig
from pipeline.engine.set_parts import set_parts
from pipeline.flow import SETS
from pipeline.store.files import Files
from pipeline.store.relations import Relations
from schemas.errors import UserError

UNFINISHED = "takedowns/unfinished.json"
"""There from before anything is removed until everything is."""


def refuse_unfinished(files: Files) -> None:
    """Raises UserError where a takedown was interrupted: what it was to remove may still lie in the run."""
    if files.exists(UNFINISHED):
        raise UserError(f"a takedown was interrupted; give 'humo takedown {files.root}' first, which ends it")


def refuse_stale(relations: Relations, config: CurateConfig) -> None:
    """Raises UserError where set tables are not those of the committed rows: a curation was interrupted, or it was done
    with other options, code or packages."""
    for stage in SETS:
        if any(
            relations.snapshot.sets.get(table) != path for table, path in set_parts(stage, relations, config).items()
        ):
            raise UserError(
                f"the rows of {stage} are out of date: a curation was interrupted, or its options, code or packages "
                f"changed; 'humo status RUN' says what 'humo curate --out RUN' would do, which has to come first"
            )
