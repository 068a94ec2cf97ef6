"""Writes generations in the background, in stages that all ranks take together."""

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec

from burgers_adjoint.errors import RestartWriteError
from burgers_adjoint.files import disk
from burgers_adjoint.parallel.agreement import at_rank_0
from burgers_adjoint.parallel.decomposition import Decomposition
from burgers_adjoint.parallel.failure import agreed
from burgers_adjoint.restart.manifest import (
    Manifest,
    Part,
    path_of,
    remove_all_but,
    write_manifest,
)
from burgers_adjoint.restart.parts import Field, Seal, file_name, write_part


class ThreadTask:
    """One job in a thread of its own.

    The thread must not keep a process from ending, so it is a daemon; `error` has what it raised.
    """

    def __init__(self, job: Callable[[], None]) -> None:
        self.error: BaseException | None = None
        self._job = job
        self._thread = threading.Thread(target=self._run, name="restart data", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether it is still at work."""
        return self._thread.is_alive()

    def wait(self) -> None:
        """Wait for its end."""
        self._thread.join()

    def _run(self) -> None:
        try:
            self._job()
        except BaseException as error:
            self.error = error


class Writer:
    """The restart data of one run in one folder.

    A generation is written in two stages: every rank writes its part files and waits until they
    are on the disk; when all have, rank 0 writes the manifest and removes what no generation needs
    any more. Both stages run in threads; `proceed` takes all ranks from one to the next.

    Args:
        decomposition: who owns which points.
        folder: of the restart data.
        run: name of the run.
        keep: how many generations to keep.

    Attributes:
        stage: what is being written, "parts" or "manifest"; None when nothing is.
        kept: the newest generations that are whole, oldest first; `parts` is known to rank 0 alone.
        nbytes: bytes that this rank has written.
    """

    def __init__(self, decomposition: Decomposition, folder: Path, run: str, keep: int) -> None:
        self.decomposition, self.folder, self.run, self.keep = decomposition, folder, run, keep
        self.kept: list[Manifest] = []
        self.stage: str | None = None
        self.nbytes = 0
        self._job: ThreadTask | None = None
        self._new: list[str] = []
        self._seals: dict[str, Seal] = {}

    @property
    def busy(self) -> bool:
        """Whether this rank's thread is at work."""
        return self._job is not None and self._job.busy

    @property
    def snapshots(self) -> dict[int, str]:
        """Step to part of all snapshots that the kept generations hold."""
        return {step: part for manifest in self.kept for step, part in manifest.snapshots.items()}

    def begin(self, draft: Manifest, new: Mapping[str, dict[str, Field]]) -> None:
        """Begin a generation.

        Args:
            draft: its manifest, with the names of all parts, but without `parts`.
            new: the parts that are not on the disk yet; the fields must stay as they are until
                the stage is over, and are taken out of here then.
        """
        self._draft, self._new, self._seals = draft, [*new], {}
        self.stage = "parts"
        self._job = ThreadTask(partial(self._write_parts, new))

    def wait(self) -> None:
        """Wait for this rank's thread."""
        if self._job is not None:
            self._job.wait()

    def proceed(self) -> bool:
        """Go on to the next stage, when no rank is busy; True when the generation is valid.

        Collective.

        Raises:
            RestartWriteError: on all ranks: the generation cannot be written; what there is of it
                is gone, older generations are as they were.
            BurgersAdjointError: on all ranks: a thread ended in another way.
        """
        comm, job, stage = self.decomposition.comm, self._job, self.stage
        self._job, self.stage = None, None
        try:
            with agreed(comm):
                if job is not None and isinstance(job.error, OSError):
                    reason = job.error.strerror or job.error
                    raise RestartWriteError(
                        f"cannot write restart data to {self.folder}: rank {comm.rank}: {reason}"
                    ) from job.error
                if job is not None and job.error is not None:
                    raise job.error
        except RestartWriteError:
            self._remove_new()
            raise
        if stage == "manifest":
            if comm.rank != 0:
                self._keep(self._draft)
            return True
        gathered = at_rank_0(comm, self._seals)
        self.nbytes += sum(seal.size for seal in self._seals.values())
        if gathered is not None:
            manifest = self._sealed(gathered)
            self._job = ThreadTask(lambda: self._commit(manifest))
        self.stage = "manifest"
        return False

    def _write_parts(self, new: Mapping[str, dict[str, Field]]) -> None:
        place = self.decomposition
        try:
            for name, fields in new.items():
                self._seals[name] = write_part(
                    self.folder, self.run, name, place.rank, place.rows, place.columns, fields
                )
            disk.sync_folder(self.folder)
        finally:
            # a failure, which knows of them, may live on: no memory of a device should
            for fields in new.values():
                fields.clear()

    def _sealed(self, gathered: list[dict[str, Seal]]) -> Manifest:
        draft, grid = self._draft, self.decomposition.process_grid
        known = {name: part for manifest in self.kept for name, part in manifest.parts.items()}
        for name in self._new:
            known[name] = Part(grid, tuple(seals[name] for seals in gathered))
        names = [draft.sweep, draft.final, *draft.snapshots.values()]
        parts = {name: known[name] for name in names if name is not None}
        return msgspec.structs.replace(draft, parts=parts)

    def _commit(self, manifest: Manifest) -> None:
        try:
            write_manifest(self.folder, manifest)
        except OSError:
            with suppress(OSError):
                disk.remove(path_of(self.folder, manifest.generation))
            raise
        self._keep(manifest)
        # What cannot be removed now is tried again with the next generation.
        with suppress(OSError):
            remove_all_but(self.folder, self.kept)

    def _keep(self, manifest: Manifest) -> None:
        """Take in a new generation; one that it has the sweep in common with is no second copy."""
        others = [one for one in self.kept if one.sweep != manifest.sweep]
        self.kept = [*others, manifest][-self.keep :]

    def _remove_new(self) -> None:
        for name in self._new:
            with suppress(OSError):
                disk.remove(self.folder / file_name(name, self.decomposition.rank))

    def finish(self, draft: Manifest) -> None:
        """Leave one last manifest, of a run that is done, in place of all else. Collective.

        Raises:
            RestartWriteError: on all ranks: it cannot be written.
        """
        comm = self.decomposition.comm
        with agreed(comm):
            if comm.rank == 0:
                try:
                    write_manifest(self.folder, draft)
                    remove_all_but(self.folder, [draft])
                except OSError as error:
                    raise RestartWriteError(
                        f"cannot write restart data to {self.folder}: {error.strerror}"
                    ) from error
