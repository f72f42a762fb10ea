"""Files of a run, on a local disk or anywhere fsspec reaches. Every file is written whole and once, or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import fsspec
from fsspec.implementations.local import LocalFileSystem

from pipeline.store.committed_files import CommittedFiles, committed_in
from pipeline.store.exclusive import created
from pipeline.store.outage import guarded
from pipeline.store.scratch import scratch_folder, sweep_dead
from schemas.errors import UserError

TEMPORARY = ".tmp"
"""Folder of files still being written; nothing reads them, and `sweep` removes those that a kill left behind."""


class Files:
    """Create-if-absent storage under one root. Picklable: workers open their own.

    Where the store itself fails, methods raise StorageFailed.
    """

    def __init__(self, root: str) -> None:
        self.root = root.rstrip("/")
        # Others write too: a remembered listing would hide their files.
        options: dict[str, Any] = {"use_listings_cache": False}
        if self.root.startswith(("s3://", "s3a://")):
            # Of each upload so many parts of 50 MB are in memory.
            options["max_concurrency"] = 2
        try:
            self._fs, self._base = fsspec.core.url_to_fs(self.root, **options)
        except (ImportError, ValueError) as error:
            raise UserError(f"{root} cannot be opened: {error}") from error
        self._local = isinstance(self._fs, LocalFileSystem)
        self._committed = committed_in(self._fs)

    def __reduce__(self) -> tuple[type["Files"], tuple[str]]:
        return Files, (self.root,)

    def check(self) -> None:
        """Raises UserError where the run is elsewhere and nothing can be kept there."""
        bucket = self._base.partition("/")[0]
        try:
            there = self._local or not bucket or self._fs.exists(bucket)
        except PermissionError:
            # Who may use a part of a bucket need not be allowed to look at all of it.
            return
        except Exception as error:  # Every file system has errors of its own: no credentials, no network.
            raise UserError(f"{self.root} cannot be reached: {type(error).__name__}: {error}") from error
        if not there:
            raise UserError(f"{self.root} cannot be used: there is no {bucket}; make it first")
        if self._local and Path(self._base).exists() and not Path(self._base).is_dir():
            raise UserError(f"{self.root} is a file, and a run is a folder")

    @guarded
    def create(self, path: str, data: bytes) -> bool:
        """Write a file that does not exist yet. Returns False, and changes nothing, where it already does.

        Atomic: a reader sees the whole file or none, also after a kill or a power cut. On the disk when this returns.
        """
        full = f"{self._base}/{path}"
        if not self._local:
            return created(lambda: self._fs.pipe_file(full, data, mode="create"))
        target = Path(full)
        if target.exists():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._write_temporary(data)
        try:
            # A hard link fails where the name is taken; a rename would replace the first commit.
            os.link(temporary, target)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        _sync(target.parent)
        return True

    @guarded
    def replace(self, path: str, data: bytes) -> None:
        """Write or overwrite one of the few files that may change: run.json, manifest.json, the report."""
        full = f"{self._base}/{path}"
        if not self._local:
            self._fs.pipe_file(full, data)
            return
        target = Path(full)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._write_temporary(data).replace(target)
        _sync(target.parent)

    @guarded
    def remove(self, path: str) -> None:
        """Remove a file, if it is there. For what no commit names."""
        with suppress(FileNotFoundError):
            self._fs.rm_file(f"{self._base}/{path}")

    @guarded
    def sweep(self, folder: str = TEMPORARY) -> None:
        """Remove a folder of leavings, if it is there. Only while no other command writes to the run.

        Of a run elsewhere that goes for those on this machine too.
        """
        if folder == TEMPORARY and not self._local:
            sweep_dead(self.root)
        with suppress(FileNotFoundError):
            self._fs.rm(f"{self._base}/{folder}", recursive=True)

    @guarded
    def create_from(self, path: str, source: Path) -> bool:
        """Like `create`, from a file on this disk, without reading it into memory where the run is local."""
        if not self._local:
            if self._fs.exists(f"{self._base}/{path}"):
                return False
            return created(lambda: self._fs.put_file(str(source), f"{self._base}/{path}", mode="create"))
        target = Path(f"{self._base}/{path}")
        if target.exists():
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as file:
            os.fsync(file.fileno())
        source.replace(target)
        return True

    def take(self, other: "Files", path: str) -> bool:
        """Create a file that another run has under the same name, unless it is here. Raises FileNotFoundError.

        For files named by their content. On one disk both runs share the bytes; within one store, the store copies.
        """
        if self.exists(path):
            return False
        source = other.local_path(path)
        if self._local and source is not None:
            target = Path(f"{self._base}/{path}")
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(source, target)
            except FileExistsError:
                return False
            except OSError as error:
                # Another disk, or one without such links.
                if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK):
                    raise
            else:
                return True
        elif self._fs is other._fs:
            self._fs.cp_file(f"{other._base}/{path}", f"{self._base}/{path}")
            return True
        folder = self.scratch()
        try:
            other.fetch(path, folder / "file")
            return self.create_from(path, folder / "file")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    @guarded
    def read(self, path: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""
        data: bytes = self._fs.cat_file(f"{self._base}/{path}")
        return data

    @guarded
    def fetch(self, path: str, target: Path) -> None:
        """Copy the file to this disk, without reading it into memory. Raises FileNotFoundError."""
        self._fs.get_file(f"{self._base}/{path}", str(target))

    @guarded
    def open(self, path: str) -> IO[bytes]:
        """The file, to read parts of it. Raises FileNotFoundError."""
        file: IO[bytes] = self._fs.open(f"{self._base}/{path}", "rb")
        return file

    @guarded
    def open_committed(self, path: str) -> IO[bytes]:
        """Like `open`, for what a commit names: it never changes, so that elsewhere small files are kept in memory."""
        file: IO[bytes] = self.open(path) if self._local else self._committed.open(f"{self._base}/{path}")
        return file

    @guarded
    def exists(self, path: str) -> bool:
        """Whether the file is there, whole."""
        return bool(self._fs.exists(f"{self._base}/{path}"))

    @guarded
    def size(self, path: str) -> int:
        """Bytes of a file. Raises FileNotFoundError."""
        return int(self._fs.size(f"{self._base}/{path}"))

    @guarded
    def names(self, folder: str) -> list[str]:
        """Names of the files directly in a folder, sorted; none where there is no such folder."""
        try:
            found = self._fs.ls(f"{self._base}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        names = (name.rstrip("/").rsplit("/", 1)[-1] for name in found)
        return sorted(name for name in names if name != TEMPORARY)

    def walk(self, folder: str) -> Iterator[str]:
        """Paths under the root of all files in a folder, at any depth, in order; those being written are not there."""
        base = f"{self._base}/{folder}"
        for path in self._find(base):
            yield f"{folder}/{path[len(base) + 1 :]}"

    @guarded
    def _find(self, base: str) -> list[str]:
        found: list[str] = self._fs.find(base)
        return found

    @property
    def remote(self) -> CommittedFiles | None:
        """The file system of committed tables, where it is not this disk."""
        return None if self._local else self._committed

    def address(self, path: str) -> str:
        """The file's whole address: its path on this disk, or a URL of `remote`."""
        full = f"{self._base}/{path}"
        return full if self._local else str(self._fs.unstrip_protocol(full))

    def local_path(self, path: str) -> Path | None:
        """Where the file lies on this disk, or None where the run is elsewhere."""
        return Path(f"{self._base}/{path}") if self._local else None

    def scratch(self) -> Path:
        """A folder for files being made: on the run's own disk where that is local, so that a rename is enough."""
        if not self._local:
            return scratch_folder(self.root)
        return Path(tempfile.mkdtemp(dir=self._temporary()))

    def spill(self) -> Path:
        """A name that nothing else has, for what a query cannot hold in memory: on the run's own disk where it can."""
        folder = Path(self._base) / TEMPORARY
        return (folder if self._local and folder.is_dir() else Path(tempfile.gettempdir())) / f"humo-{uuid4().hex}"

    def _temporary(self) -> Path:
        folder = Path(self._base) / TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _write_temporary(self, data: bytes) -> Path:
        descriptor, name = tempfile.mkstemp(dir=self._temporary())
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        path = Path(name)
        path.chmod(0o644)
        return path


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk: a file's own bytes being there says nothing of its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
