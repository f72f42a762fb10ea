"""Weights into the cache, on the user's word: resumed where a download broke off, and kept only with their checksum."""

import asyncio
import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path

import aiohttp

from pipeline.weights.locate import cache_folder, checked, digest_of, expected, note_published
from pipeline.weights.weight import Weight, WeightFile
from schemas.errors import UserError, WorkFailed

PARTIAL = ".partial"
BLOCK = 1 << 20
TRIES = 5
SILENCE_S = 60.0
"""A connection that gives nothing for so long is tried anew."""

Tell = Callable[[str], None]


def fetch(weight: Weight, tell: Tell) -> Path:
    """Bring the files of a weight that are not there yet; returns its folder.

    Raises WorkFailed where a file cannot be had, and UserError where what came is not what the table says.
    """
    folder = cache_folder() / weight.name
    folder.mkdir(parents=True, exist_ok=True)
    for file in weight.files:
        if all((folder / path).is_file() and _right(folder, path, sha256) for path, sha256 in expected(file)):
            tell(f"{file.path} is there")
            continue
        tell(f"{file.path} from {file.url}")
        asyncio.run(_fetch(weight, file, folder, tell))
        if file.unpack:
            _unpack(folder, file)
    return folder


def _right(folder: Path, path: str, sha256: str | None) -> bool:
    """Where the publisher's checksum is not in the table, what is there was checked against it when it came."""
    found = checked(folder, path)
    return sha256 is None or found == sha256


async def _fetch(weight: Weight, file: WeightFile, folder: Path, tell: Tell) -> None:
    target = folder / file.path
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + PARTIAL)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=SILENCE_S, sock_read=SILENCE_S)
    async with aiohttp.ClientSession(timeout=timeout, trust_env=True, auto_decompress=False) as session:
        sha256 = file.sha256
        error: Exception | None = None
        for _ in range(TRIES):
            try:
                blob = None
                if sha256 is None:
                    sha256, blob = await _published(session, file.url)
                await _download(session, file.url, partial, tell)
                break
            except (aiohttp.ClientError, TimeoutError, OSError) as caught:
                error = caught
                tell(f"{file.path}: {' '.join(str(caught).split()) or type(caught).__name__}; again")
        else:
            raise WorkFailed(f"{file.path} was not fetched: {error}; the same command goes on from what is there")
    if blob is not None and _blob(partial) == blob:
        sha256 = digest_of(partial)
    if sha256 is None or digest_of(partial) != sha256:
        partial.unlink()
        raise UserError(
            f"{file.url} gave a file with another checksum than {'published' if file.sha256 is None else 'expected'}; "
            f"it was deleted. Give 'humo fetch {weight.name}' again; if it stays so, do not use that file"
        )
    partial.replace(target)
    if file.sha256 is None:
        note_published(folder, file.path, sha256)


async def _published(session: aiohttp.ClientSession, url: str) -> tuple[str | None, str | None]:
    """The SHA-256 that a hub gives for a large file, or the id of a small one as git counts it.

    Raises UserError where it gives neither.
    """
    async with session.head(url, allow_redirects=False) as response:
        if response.status >= 400:
            raise aiohttp.ClientError(f"status {response.status}")
        named = response.headers.get("X-Linked-ETag") or response.headers.get("ETag") or ""
    digest = named.removeprefix("W/").strip('"').lower()
    if len(digest) in (40, 64) and all(letter in "0123456789abcdef" for letter in digest):
        return (digest, None) if len(digest) == 64 else (None, digest)
    raise UserError(f"{url} gives no checksum, so what it gives cannot be checked")


async def _download(session: aiohttp.ClientSession, url: str, partial: Path, tell: Tell) -> None:
    """Append to what is there, where the server goes on from it; else begin anew."""
    have = partial.stat().st_size if partial.exists() else 0
    async with session.get(url, headers={"Range": f"bytes={have}-"} if have else {}) as response:
        if response.status == 416:
            return
        if response.status >= 400:
            raise aiohttp.ClientError(f"status {response.status}")
        if have and response.status == 206:
            tell(f"goes on after {have / 2**20:.1f} MiB")
        with partial.open("ab" if have and response.status == 206 else "wb") as out:
            async for block in response.content.iter_chunked(BLOCK):
                out.write(block)


def _blob(path: Path) -> str:
    """A file's id as git counts it: SHA-1 over a header and its bytes."""
    data = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _unpack(folder: Path, file: WeightFile) -> None:
    """Take the members that the table names out of an archive, and nothing else; then delete it."""
    archive = folder / file.path
    with zipfile.ZipFile(archive) as members:
        found = {Path(info.filename).name: info for info in members.infolist() if not info.is_dir()}
        for name, sha256 in file.unpack:
            if name not in found:
                raise UserError(f"{file.url} holds no {name}")
            target = archive.with_name(name)
            partial = target.with_name(name + PARTIAL)
            with members.open(found[name]) as source, partial.open("wb") as out:
                while block := source.read(BLOCK):
                    out.write(block)
            if digest_of(partial) != sha256:
                partial.unlink()
                raise UserError(f"{name} in {file.url} has another checksum than expected")
            partial.replace(target)
    archive.unlink()
