"""The whole benchmark: items one after the other, each printed when it is done."""

import collections.abc
import logging
import os

import ml_collections

from gfl_tf import quiet
from gfl_tf.benchmark import artifacts, files, items, text
from gfl_tf.benchmark.bench import Bench, Settings
from gfl_tf.benchmark.results import Result
from gfl_tf.benchmark.suites import Suite


def prepared(
    settings: Settings,
    suite: Suite,
    config: ml_collections.ConfigDict | None = None,
    name: str | None = None,
    run_dir: str | os.PathLike | None = None,
) -> Bench:
    """The `Bench` of a suite, or of one detector.

    Args:
        settings: how much is measured.
        suite: the detectors, where there is no config.
        config: of one detector.
        name: the config's; None: of a run.
        run_dir: of the run whose config and weights it is.

    Raises:
        ValueError: a run without weights.
    """
    if run_dir is not None:
        return Bench(settings, [artifacts.of_run(run_dir)], say=print)
    if config is not None:
        return Bench(settings, [artifacts.with_classes(artifacts.Artifact(name, config))], say=print)
    detectors = [artifacts.of_config(name, share) for name, share in suite.detectors.items()]
    pairs = [(artifacts.of_config(one), artifacts.of_config(other), most) for one, other, most in suite.pairs]
    return Bench(settings, detectors, pairs, artifacts.of_config(suite.deformable), say=print)


def run(
    bench: Bench, names: collections.abc.Sequence[str], output: str | os.PathLike | None = None
) -> dict[str, Result]:
    """Measures items and says what was found.

    Args:
        bench: of `prepared`.
        names: of `items.ITEMS`.
        output: folder that is written after each item; None: nothing is.

    Returns {item: `Result`}.
    """
    machine = files.about()
    results = {}
    for name in names:
        bench.item = name
        # TensorFlow says of functions that are made anew for each part that they should not be.
        with quiet.loggers("tensorflow", level=logging.ERROR):
            results[name] = items.measure(name, bench)
        bench.say(f"{text.render(name, results[name])}\n")
        if output is not None:
            files.write(output, bench, results, machine)
    bench.say("\n".join([text.drift(bench.drift), text.LEGEND]))
    if output is not None:
        bench.say(f"Written to {output}: {files.PAGE}, {files.JSON}")
    return results
