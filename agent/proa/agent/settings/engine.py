"""Settings of the node: checked whole, applied as a generation, tried, and committed or taken back.

The order of steps makes any cut harmless. The new generation is written beside the others; then what is tried, and what
it returns to, is written down; then one rename puts it into effect. Whoever starts next finds either no trial, or one
of another boot, which goes back, or this boot's, whose time runs on.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from proa.agent.node.boot import boot_id
from proa.agent.node.lock import locked
from proa.agent.node.view import Context
from proa.agent.settings.effect import Effect
from proa.agent.settings.report import Phase, RefusedSetting, SettingsReport
from proa.agent.settings.store import LastReturn, SettingsTrial, Store
from proa.core.runtime.errors import Code, ProaError
from proa.core.runtime.events import Note
from proa.core.settings import allow_list
from proa.core.settings.allow_list import AllowList
from proa.core.settings.checking import check
from proa.core.settings.disruption import Disruption
from proa.core.settings.document import EMPTY, Document
from proa.core.settings.model import Refusal
from proa.core.settings.registry import MODELS, changed, disruption, render

WITHIN: Final = 600.0
"""Seconds in which a document must be committed unless told otherwise."""
EXPIRED: Final = "it was not committed in time"
CUT_OFF: Final = "the agent stopped before it took effect"


@dataclass(frozen=True)
class Engine:
    """The settings of one node.

    Attributes:
        context: Places, time, monitor.
    """

    context: Context

    @property
    def effect(self) -> Effect:
        """What is set on the node."""
        return Effect(self.context.paths, self.context.clock)

    @property
    def store(self) -> Store:
        """The generations."""
        return self.effect.store

    @property
    def committed(self) -> Document:
        """The committed document."""
        trial = self.store.trial
        return self.store.document(trial.before if trial else self.store.current)

    def allowed(self) -> AllowList:
        """What the running release allows to be set.

        Raises:
            ProaError: ``SETTINGS_REFUSED`` for a list that cannot be read.
        """
        path = self.context.paths.usr / allow_list.FILE
        return allow_list.of_json(path.read_bytes(), path) if path.exists() else allow_list.NOTHING

    # verbs

    def apply(
        self, document: Document, within: float = WITHIN, *, commit: bool = False, dry_run: bool = False
    ) -> SettingsReport:
        """Check a document and try it; the document before is in effect again if it does not take effect.

        Args:
            document: The settings.
            within: Seconds in which it must be committed.
            commit: Commit it at once if it takes effect.
            dry_run: Only check it, and say what would be done.

        Raises:
            ProaError: ``SETTINGS_REFUSED`` with every reason, ``SETTINGS_OLDER``, ``SETTINGS_FAILED`` with what did not
                take effect, ``BUSY``, or as the file system says.
        """
        self.require(document)
        committed = self.committed
        actions = _actions(committed, document)
        if dry_run:
            return self.report(dry_run=True, actions=actions)
        with locked(self.context.paths):
            self._settle()
            if (trial := self.store.trial) is not None and trial.hash != document.digest:
                self._return(trial, "another document replaces it", Phase.REVERTED)
            if self.store.trial is None and (document.digest != committed.digest or self._differs(document)):
                self._try(document, within)
            if commit:
                self._commit()
            return self.report(actions=actions)

    def commit(self, wanted: str = "", *, dry_run: bool = False) -> SettingsReport:
        """Keep what is being tried.

        Args:
            wanted: The hash of the document that is meant; empty for any.
            dry_run: Change nothing.

        Raises:
            ProaError: ``NO_SETTINGS_TRIAL`` when nothing, or another document, is being tried.
        """
        if dry_run:
            self._need_trial(wanted)
            return self.report(dry_run=True, actions=("commit the settings",))
        with locked(self.context.paths):
            self._settle()
            self._need_trial(wanted)
            self._commit()
            return self.report(actions=("commit the settings",))

    def revert(self, wanted: str = "", *, dry_run: bool = False) -> SettingsReport:
        """Take back what is being tried, or where nothing is, the last committed document.

        Raises:
            ProaError: ``NO_SETTINGS_TRIAL`` when there is nothing to return to, ``SETTINGS_FAILED`` when what was
                before does not take effect either.
        """
        actions = ("return to the settings before",)
        if dry_run:
            self._before(wanted)
            return self.report(dry_run=True, actions=actions)
        with locked(self.context.paths):
            self._settle()
            trial, before = self.store.trial, self._before(wanted)
            if trial is not None:
                self._return(trial, "an order reverted it", Phase.REVERTED)
            else:
                was = self.committed
                self.store.switch(before)
                self.effect.put(was, self.store.document(before))
            return self.report(actions=actions)

    def settle(self) -> bool:
        """Take back a trial that an earlier boot began, or whose time is up; whether something was taken back.

        Raises:
            ProaError: ``BUSY``, ``SETTINGS_FAILED``, or as the file system says.
        """
        if self.store.trial is None:
            return False
        with locked(self.context.paths):
            return self._settle()

    def left(self) -> float | None:
        """Seconds that the trial has left; none without one."""
        trial = self.store.trial
        if trial is None:
            return None
        same = trial.applied and trial.boot_id == boot_id(self.context.paths)
        return max(0.0, trial.until - self.context.clock.monotonic()) if same else 0.0

    # looking

    def report(self, *, dry_run: bool = False, actions: Sequence[str] = ()) -> SettingsReport:
        """What the settings are."""
        trial, last, committed = self.store.trial, self.store.last, self.committed
        effective = self.store.document(self.store.current)
        return SettingsReport(
            hash=committed.digest,
            generation=self.store.current,
            phase=_phase(trial, last, committed),
            revision=committed.revision,
            trial_hash=trial.hash if trial else "",
            left=int(self.left() or 0),
            failed_hash=last.hash if last else "",
            message=last.reason if last else "",
            drift=tuple(self.effect.drift(effective)),
            refused=tuple(RefusedSetting(**vars(one)) for one in self._refused(effective)),
            document=effective.canonical(),
            dry_run=dry_run,
            actions=tuple(actions),
        )

    def require(self, document: Document) -> None:
        """Refuse what may not be set on this node.

        Raises:
            ProaError: ``SETTINGS_REFUSED``, ``SETTINGS_OLDER``.
        """
        found = check(document, self.allowed())
        if found:
            raise ProaError(Code.SETTINGS_REFUSED, "; ".join(one.text for one in found))
        self.check_revision(document)

    def check_revision(self, document: Document) -> None:
        """Refuse a document that is older than the committed one.

        Raises:
            ProaError: ``SETTINGS_OLDER``.
        """
        committed = self.committed.revision
        if document.revision < committed:
            what = f"the document has revision {document.revision}, and {committed} is committed"
            raise ProaError(Code.SETTINGS_OLDER, what)

    # inside; the lock is held

    def _refused(self, document: Document) -> tuple[Refusal, ...]:
        try:
            return check(document, self.allowed())
        except ProaError as error:
            return (Refusal("settings", error.message),)

    def _differs(self, document: Document) -> bool:
        return any(True for _ in self.effect.drift(document))

    def _try(self, document: Document, within: float) -> None:
        store, before = self.store, self.store.current
        number = store.write(render(document, self._base))
        trial = SettingsTrial(number, before, document.digest, boot_id(self.context.paths), 0.0)
        store.begin(trial)
        try:
            store.switch(number)
            again = store.document(before).digest == document.digest  # something else had changed it
            self.effect.put(store.document(before), document, everything=again)
        except ProaError as error:
            self._return(trial, error.message, Phase.FAILED)
            if error.code is Code.SETTINGS_FAILED:
                raise
            raise ProaError(Code.SETTINGS_FAILED, error.message, at=error.at) from error
        until = self.context.clock.monotonic() + within
        store.begin(dataclasses.replace(trial, until=until, applied=True))
        self.context.monitor.emit(Note(f"settings {document.digest[:12]} are in effect, on trial for {within:.0f} s"))

    def _base(self, path: str) -> str:
        """A file of the release, without what settings made of it."""
        try:
            return (self.context.paths.root / path.lstrip("/")).read_text()
        except (OSError, ValueError):
            return ""

    def _commit(self) -> None:
        if self.store.trial is not None:
            self.store.end()
            self.store.forget()
            self.store.prune()
            self.context.monitor.emit(Note("the settings are committed"))

    def _need_trial(self, wanted: str) -> None:
        trial = self.store.trial
        if trial is None or wanted not in ("", trial.hash):
            what = f"settings {trial.hash[:12]} are being tried, not {wanted[:12]}" if trial else ""
            raise ProaError(Code.NO_SETTINGS_TRIAL, what)

    def _before(self, wanted: str) -> int:
        if wanted:
            self._need_trial(wanted)
        trial = self.store.trial
        if trial is not None:
            return trial.before
        older = [one for one in self.store.numbers if one < self.store.current]
        if not self.store.current:
            raise ProaError(Code.NO_SETTINGS_TRIAL, "the release's own settings are in effect")
        return max(older, default=0)

    def _settle(self) -> bool:
        trial = self.store.trial
        if trial is None or (self.left() or 0.0) > 0:
            return False
        rebooted = trial.boot_id != boot_id(self.context.paths)
        why = "the node restarted before it was committed" if rebooted else EXPIRED if trial.applied else CUT_OFF
        self._return(trial, why, Phase.REVERTED)
        return True

    def _return(self, trial: SettingsTrial, reason: str, phase: Phase) -> None:
        """Put the generation before into effect again, whatever is in effect now."""
        store = self.store
        was, before = store.document(trial.generation), store.document(trial.before)
        store.switch(trial.before)
        words = f"{phase.value}: {reason}"
        store.remember(LastReturn(trial.hash, words, self.context.time()))
        self.context.monitor.emit(Note(f"settings {trial.hash[:12]} are reverted: {reason}", "warning"))
        try:
            self.effect.put(was, before, everything=True)
        finally:
            store.end()


def _phase(trial: SettingsTrial | None, last: LastReturn | None, committed: Document) -> Phase:
    if trial is not None:
        return Phase.TRIAL
    if last is None or last.hash == committed.digest:
        return Phase.COMMITTED
    return Phase.FAILED if last.reason.startswith(Phase.FAILED.value) else Phase.REVERTED


def _actions(before: Document, after: Document) -> tuple[str, ...]:
    """What a change comes to, for people."""
    found = []
    for model, keys in changed(before, after).items():
        new = after.models.get(model, {})
        for key in sorted(keys):
            value = json.dumps(new[key], ensure_ascii=False) if key in new else "the release's own"
            found.append(f"{model}.{key} = {value}")
        found += [f"restart {unit}" for unit in MODELS[model].restart]
    if found and disruption(before, after) is Disruption.DRAIN:
        found.append("pods should be moved away first")
    return tuple(found or ["nothing: the node has these settings"])


NOTHING_SET: Final = EMPTY.digest
"""The hash of a node without settings of its own."""
