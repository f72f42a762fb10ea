"""A list that lies elsewhere, brought to this disk to be read."""

from pathlib import Path

from pipeline.crawl.fetch import Asked, Failed, Keeping
from pipeline.crawl.place import Place
from pipeline.crawl.window import fetch_all
from pipeline.stages.options.crawl import CrawlConfig
from schemas.errors import UserError


def fetch_list(uri: str, config: CrawlConfig, folder: Path) -> Path:
    """Where in this empty folder the list lies now. Raises UserError where it cannot be fetched."""
    target = folder / "list"

    def keep(path: Path, _sha256: str) -> None:
        path.replace(target)

    keeping = Keeping(folder=folder, keep=keep, unwanted_etag=lambda _uri, _etag: False, unwanted=lambda _sha256: False)
    # Lists come as text, as JSON, as CSV, as anything.
    any_type = config.model_copy(update={"types": ("*",)})
    for _, outcome in fetch_all(iter([Asked(place=Place(uri=uri))]), any_type, keeping):
        if isinstance(outcome, Failed):
            raise UserError(f"cannot read the list {uri}: {outcome.error}") from outcome.error
    return target
