"""Trains the rows of a table with several seeds, as far as there is time, and says what came out."""

import collections.abc
import dataclasses
import json
import pathlib
import time
import typing

import ml_collections

from gfl_tf import files
from gfl_tf.ablation import base, plan, summary, tables, trainings
from gfl_tf.ablation.plan import Budget, Training
from gfl_tf.ablation.tables import Table
from gfl_tf.texts import first_ones
from gfl_tf.training import config as configs
from gfl_tf.training import fields, lock, run_data
from gfl_tf.training.progress import duration
from gfl_tf.training.stop import StopRequest

FILE = "ablation.json"


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What is trained, and where it is kept.

    Attributes:
        name: of the table.
        base: see `base.row_config`.
        overrides: fields of the command line.
        output: the folder of the run directories.
        rows: some of the table's, in its order.
        seeds: of each row.
        checkpoint: "best" or "last": the weights whose AP counts.
    """

    name: str
    base: str
    overrides: tuple[str, ...]
    output: pathlib.Path
    rows: tuple[str, ...]
    seeds: tuple[int, ...]
    checkpoint: str

    @property
    def table(self) -> Table:
        return tables.find(self.name)

    @property
    def trainings(self) -> list[Training]:
        return [Training(row, seed) for row in self.rows for seed in self.seeds]


@dataclasses.dataclass
class Found:
    """What is known of the trainings of an ablation.

    Attributes:
        states: {training: its state}.
        results: {row: {seed: {metric: percent}}} of the finished ones.
        seconds: {training: seconds that its processes took so far}.
        failures: {training: why its last process failed}.
        others: what `FILE` knows of trainings of other rows and seeds, of calls before.
    """

    states: dict[Training, str]
    results: dict[str, dict[int, dict[str, float]]]
    seconds: dict[Training, float]
    failures: dict[Training, str]
    others: list[dict[str, typing.Any]] = dataclasses.field(default_factory=list)

    @property
    def finished_seconds(self) -> dict[Training, float]:
        return {each: value for each, value in self.seconds.items() if self.states.get(each) == plan.FINISHED}


def run(
    ablation: Ablation,
    command: collections.abc.Sequence[str],
    budget: Budget,
    say: collections.abc.Callable[[str], None],
    show: collections.abc.Callable[[Found], None],
) -> tuple[Found, int | None]:
    """Trains what is missing, one training at a time.

    Args:
        command: see `trainings.train`.
        budget: of time.
        say: takes a line about what happens.
        show: called with what is known, after each training and at the end, when `FILE` is written.

    Returns:
        what is known at the end, and the number of the signal that stopped it, or None.

    Raises:
        ValueError: the base, its data, or a run that is there cannot be used; before anything is trained.
    """
    base.check(ablation.base, ablation.overrides)
    ablation.output.mkdir(parents=True, exist_ok=True)
    remedy = "Wait for it, stop it, or choose another --output."
    with lock.held(ablation.output / "ablate.lock", remedy):
        prepared = _prepare(ablation)
        _check_same(ablation, prepared)
        found = _read(ablation)
        with StopRequest() as stop:
            for training in plan.order(ablation.rows, ablation.seeds, found.states):
                if stop.signal or not _has_time(training, found, budget, say):
                    break
                _train(ablation, training, prepared[training], command, budget, stop, found, say)
                _keep(ablation, found, show)
        _keep(ablation, found, show)
    return found, stop.signal


def _has_time(training, found, budget, say):
    is_new = found.states[training] == plan.MISSING
    estimate = plan.estimate(training, found.finished_seconds) if is_new else None
    if budget.fits(estimate):
        return True
    takes = "" if estimate is None else f", takes about {duration(estimate)}, and there are {duration(budget.left())}"
    say(f"There is no more time. Next is {training}{takes}.")
    return False


def _train(ablation, training, prepared, command, budget, stop, found, say):
    config, data = prepared
    run = trainings.run_of(ablation.output, training)
    done = sum(state == plan.FINISHED for state in found.states.values())
    does = "Going on with" if run.has_checkpoint() else "Training"
    say(f"{does} {training}; {done} of {len(found.states)} are finished. Watch {run.log_file}")
    start = time.monotonic()
    try:
        with run.locked():
            run.start(config, data)
        failure = trainings.train(run, command, budget, stop)
    except (OSError, ValueError) as error:
        failure = str(error)
    found.seconds[training] = found.seconds.get(training, 0.0) + time.monotonic() - start
    found.failures.pop(training, None)
    if failure:
        found.failures[training] = failure
        say(f"{training} failed: {failure} (more in {run.path / trainings.ERRORS})")
    _look(ablation, training, found)
    if found.states[training] == plan.FINISHED:
        ap = found.results[training.row][training.seed]["AP"]
        say(f"{training}: AP {ap:.1f}, after {duration(found.seconds[training])}")


def _prepare(ablation):
    """{training: (its complete config, what its data hold)}."""
    names = {row: f"{ablation.name}/{row}" for row in ablation.rows}
    of_rows = {
        row: base.row_config(ablation.base, name, ablation.table.rows[row], ablation.overrides)
        for row, name in names.items()
    }
    first = of_rows[ablation.rows[0]]
    for row, config in of_rows.items():
        for field, one, other in configs.differing_fields(first.data, config.data):
            raise ValueError(
                f"--config={ablation.base}: all rows need the same data, and data.{field} is {one!r} in "
                f"{ablation.rows[0]} but {other!r} in {row}"
            )
    prepared, loaded = {}, None
    for seed in ablation.seeds:
        if loaded is None or fields.held_out(first.data):  # which images are held out, the seed says
            loaded = _load(first, seed)
        data_config, described = loaded
        for row, config in of_rows.items():
            config = ml_collections.ConfigDict(config.to_dict())
            config.seed, config.data = seed, data_config.data
            config.model.num_classes = data_config.model.num_classes
            prepared[Training(row, seed)] = configs.complete(config), described
    return prepared


def _load(config, seed):
    config = ml_collections.ConfigDict(config.to_dict())
    config.seed = seed
    config, train_data, val_data = configs.load_datasets(config)
    if val_data is None:
        raise ValueError(
            "there is nothing to evaluate the rows on: set --config.data.val_annotations, or "
            "--config.data.val_share to a share of the training images"
        )
    if not val_data.num_boxes:
        raise ValueError(f"{val_data.report.source} has no box to find, so that the rows would have no AP: name others")
    return config, run_data.describe(train_data, val_data)


def _check_same(ablation, prepared):
    stored = _stored(ablation)
    if stored.get("table", ablation.name) != ablation.name:
        raise ValueError(f"{ablation.output} holds {stored['table']}, not {ablation.name}: choose another --output")
    for training, (config, data) in prepared.items():
        run = trainings.run_of(ablation.output, training)
        differences = run.differences(config, data)
        if differences:
            raise ValueError(
                f"{run.path} holds a run of other settings or data: {'; '.join(first_ones(differences, 3))}. Choose "
                "another --output, or name the settings and data that it began with"
            )


def _stored(ablation):
    return files.read_good(ablation.output / FILE, files.read_json, {})


def _read(ablation):
    found = Found({}, {}, {}, {})
    stored = {Training(each["row"], each["seed"]): each for each in _stored(ablation).get("trainings", ())}
    for training in ablation.trainings:
        known = stored.pop(training, {})
        if known.get("seconds"):
            found.seconds[training] = known["seconds"]
        _look(ablation, training, found)
    found.others = list(stored.values())
    return found


def _look(ablation, training, found):
    """Looks into a training's run directory."""
    run = trainings.run_of(ablation.output, training)
    found.states[training] = trainings.state(run)
    if found.states[training] == plan.FINISHED:
        found.results.setdefault(training.row, {})[training.seed] = trainings.scores(run, ablation.checkpoint)


def content(ablation: Ablation, found: Found) -> dict[str, typing.Any]:
    """All of it as plain values for JSON."""
    table, results = ablation.table, found.results
    return {
        "table": ablation.name,
        "source": table.source,
        "title": table.title,
        "base": ablation.base,
        "overrides": list(ablation.overrides),
        "checkpoint": ablation.checkpoint,
        "rows": [
            {
                "row": row,
                "detector": table.rows[row].detector,
                "changes": table.rows[row].changes,
                "paper": table.rows[row].figures,
                "here": {name: summary.plain(value) for name, value in summary.of_row(results, row).items()},
            }
            for row in ablation.rows
        ],
        "groups": [
            {
                "reference": group.reference,
                "differences": [summary.plain(each) for each in summary.of_group(results, table, group)],
                "pairs": summary.pairs(results, table, group),
            }
            for group in summary.among(table.groups, ablation.rows)
        ],
        "trainings": [
            {
                **training._asdict(),
                "state": state,
                "run_dir": str(trainings.run_of(ablation.output, training).path),
                "seconds": found.seconds.get(training),
                "failure": found.failures.get(training),
                "scores": results.get(training.row, {}).get(training.seed),
            }
            for training, state in found.states.items()
        ]
        + found.others,
    }


def _keep(ablation, found, show):
    files.write(ablation.output / FILE, json.dumps(content(ablation, found), indent=1) + "\n", synced=True)
    show(found)
