"""The advice without Qt: rows of places and remedies, the verdict's lines, and what applying one does to the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import msgspec

from engine.plan.data import PlanData
from engine.plan.rebase import rebased
from engine.reports import Interval
from engine.reports_advice import AccuracyAdvice, Answer, Bounds, Cause, Combination, Diagnosis, Effect, Trial
from engine.service.messages import LabelledData
from gui.panels import formats

COLUMNS = ("Place and remedy", "Gain", "Agreement", "Time", "DDR traffic", "Why")
TASK = 2
TOP_1 = "Top-1"
NUMERIC = frozenset({1, 2, 3, 4})
WHY = 5
WIDTHS = (58, 18, 24, 13, 13, 60)
"""Of the columns, in characters."""

WHOLE_MODEL = "Whole model"
COMBINATION_KEY = 0
"""Of the plan with the best combination, among those of the trials."""

NOTHING_FOUND = "nothing that was tried gains more than chance would have it"


@dataclass(frozen=True)
class Row:
    """A place, or below it a remedy (with the ``key`` of its plan). ``node`` is what a click selects, "" for nothing.

    ``name`` tells rows apart while figures change; ``is_muted``: nothing to apply; ``is_applied``: the plan has it.
    """

    name: str
    texts: tuple[str, ...]
    tip: str
    node: str
    key: int | None = None
    is_muted: bool = False
    is_applied: bool = False
    rows: tuple[Row, ...] = ()


def data_text(data: LabelledData | None) -> str:
    """What the verdict counts on."""
    if data is None:
        return "calibration samples, by agreement with the float model"
    part = "" if data.split is None else f", {data.split}"
    count = "" if data.samples is None else f", {counted(data.samples, 'sample', 'samples')}"
    return f"{PurePath(data.path).name}{part}{count}"


def columns_of(advice: AccuracyAdvice | None) -> tuple[str, ...]:
    """The columns' titles: top-1 takes the place of agreement once it is counted."""
    is_counted = advice is not None and is_top1_counted(advice)
    return tuple(TOP_1 if is_counted and index == TASK else title for index, title in enumerate(COLUMNS))


def is_top1_counted(advice: AccuracyAdvice) -> bool:
    return any(trial.effect.top1_change is not None for trial in advice.trials)


@dataclass
class Advice:
    """What was asked, and the answers so far: the advice on the plan ``before``, and the plans of its remedies."""

    before: PlanData
    is_on_selection: bool = False
    advice: AccuracyAdvice | None = None
    plans: dict[int, PlanData] = field(default_factory=dict[int, PlanData])

    def take(self, advice: AccuracyAdvice, plans: Mapping[int, PlanData]) -> None:
        self.advice = advice
        self.plans |= plans

    def applied(self, present: PlanData, key: int) -> PlanData:
        """The present plan with a remedy: what it changes in the plan that it was tried on is done to this one."""
        fields = rebased(self.before, self.plans[key], present)
        return msgspec.structs.replace(present, **fields) if fields else present

    def is_applied(self, present: PlanData, key: int) -> bool:
        return key in self.plans and self.applied(present, key) == present

    def rows(self, present: PlanData) -> tuple[Row, ...]:
        """A row for each place, its remedies below it, those that gain most first."""
        advice = self.advice
        if advice is None:
            return ()
        return tuple(self._place(item, advice.trials, present) for item in advice.diagnoses)

    def _place(self, place: Diagnosis, trials: Sequence[Trial], present: PlanData) -> Row:
        own = [trial for trial in trials if trial.site == place.node]
        is_top1 = any(trial.effect.top1_change is not None for trial in trials)
        offered = sorted((t for t in own if t.is_offered), key=lambda trial: -(trial.effect.gain_db.mean or 0.0))
        others = [trial for trial in own if not trial.is_offered]
        rows = [self._remedy(trial, present, is_top1) for trial in offered]
        if others:
            rows.append(_within_noise(place.node, others))
        causes = "; ".join(map(cause_text, place.causes))
        title = place.node.lstrip("/") or WHOLE_MODEL
        kind = f"  ({place.op_type}, {place.effective})" if place.node else ""
        share = "" if place.share is None else f"{_share(place.share)} of the error"
        texts = (f"{title}{kind}", share, "", "", "", causes)
        tip = "\n".join([place.node or WHOLE_MODEL, *map(cause_text, place.causes)])
        return Row(place.node, texts, tip, place.node, rows=tuple(rows))

    def _remedy(self, trial: Trial, present: PlanData, is_top1: bool) -> Row:
        is_applied = self.is_applied(present, trial.key)
        state = "✓ applied" if is_applied else "" if trial.is_final else "still being measured"
        gain, task, *cost = effect_texts(trial.effect)
        is_other = is_top1 and trial.effect.top1_change is None
        texts = (trial.title, gain, formats.MISSING if is_other else task, *cost, state)
        tip = f"{trial.title}\n{effect_text(trial.effect)}\nDouble-click to apply it: one step that can be undone."
        return Row(f"{trial.site} {trial.remedy}", texts, tip, trial.site, trial.key, is_applied=is_applied)


def _within_noise(site: str, trials: Sequence[Trial]) -> Row:
    """One line for all that was tried in vain; the tool tip has each."""
    count = len(trials)
    text = f"{count} other{'s' * (count != 1)}: no sure gain"
    lines = [f"{trial.title}: {gain_text(trial.effect.gain_db)}" for trial in trials]
    return Row(f"{site} others", (text, "", "", "", "", ""), "\n".join(lines), site, is_muted=True)


def cause_text(cause: Cause) -> str:
    """A cause with its share of what the node adds."""
    return cause.text if cause.share is None else f"{_share(cause.share)} {cause.text}"


def effect_texts(effect: Effect) -> tuple[str, str, str, str]:
    """Gain, what the task gains (top-1 on labelled data, else agreement), time and traffic, as short as a table wants
    them."""
    task = effect.agreement_change if effect.top1_change is None else effect.top1_change
    points = formats.MISSING if task is None else points_text(task)
    time = f"{_signed(effect.change_us, 1)} µs"
    traffic = "0 B" if not effect.change_bytes else _signed_size(effect.change_bytes)
    return gain_text(effect.gain_db), points, time, traffic


def effect_text(effect: Effect) -> str:
    """One line of the same, with the number of samples and where the output then is."""
    gain, points, time, traffic = effect_texts(effect)
    output = formats.decibels(effect.output_db, unit="dB")
    seen, labelled = (counted(count, "sample", "samples") for count in (effect.samples, effect.top1_samples))
    task = "agreement" if effect.top1_change is None else f"top-1 on {labelled}"
    return f"{gain} to {output} at the output on {seen}, {task} {points}, {time}, {traffic}"


def points_text(change: Bounds) -> str:
    """A change of a share in points, with its interval."""
    value, low, high = (_signed(100.0 * part, 1) for part in (change.value, change.low, change.high))
    return f"{value} ({low} to {high}) pts"


def gain_text(gain: Interval) -> str:
    if gain.mean is None:
        return formats.MISSING
    half = "" if gain.half_width is None else f" ± {gain.half_width:.1f}"
    return f"{_signed(gain.mean, 1)}{half} dB"


@dataclass(frozen=True)
class Headline:
    """The verdict in a word, the sentence under it, and whether it is bad news."""

    text: str
    details: str
    is_warning: bool = False


def headline_of(advice: AccuracyAdvice, is_running: bool, is_on_selection: bool = False) -> Headline:
    """What stands above the table: the verdict, or what is known before there is one. Advice on a selection has none:
    it did not look at the rest."""
    verdict = advice.verdict
    if verdict is not None:
        title = verdict.answer.value
        if verdict.answer is Answer.WITH_REMEDIES and advice.combination is not None:
            title = f"PTQ with {counted(len(advice.combination.titles), 'remedy', 'remedies')} is enough"
        return Headline(_capital(title), verdict.text, verdict.answer is Answer.TRAIN)
    offered = sum(trial.is_offered for trial in advice.trials)
    found = f"{counted(offered, 'remedy gains', 'remedies gain')} beyond chance" if offered else NOTHING_FOUND
    state = "Remedies at the selected nodes" if is_on_selection else "No verdict: advice was stopped"
    if is_running:
        state = "Trying remedies …"
    present = formats.decibels(advice.present_db, unit="dB")
    return Headline(state, f"The output is at {present} over {advice.samples} samples; so far {found}.")


def combination_text(combination: Combination) -> str:
    """What the best combination is, and does."""
    lines = [f"{number}. {title}" for number, title in enumerate(combination.titles, start=1)]
    return "\n".join([*lines, effect_text(combination.effect)])


def step_label(row: Row) -> str:
    """What the step of undo is called."""
    place = row.node.strip("/").rpartition("/")[0] or row.node or WHOLE_MODEL.lower()
    return f"advice: {row.texts[0]} ({place})"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def counted(count: int, one: str, many: str) -> str:
    """A number with the word in its form."""
    return f"{count} {one if count == 1 else many}"


def _share(share: float) -> str:
    return f"{100.0 * share:.0f} %"


def _signed(value: float, digits: int) -> str:
    """A change with its sign; what rounds to nothing has none."""
    text = f"{value:+.{digits}f}"
    return text[1:] if not float(text) else text.replace("-", "−")


def _signed_size(byte_count: int) -> str:
    return f"{'+' if byte_count > 0 else '−'}{formats.size(abs(byte_count))}"
