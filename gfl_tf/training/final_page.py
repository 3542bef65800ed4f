"""The page that a training leaves behind at its end."""

import time

import ml_collections
from absl import logging

from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation import trust
from gfl_tf.training import report_page, run_dir
from gfl_tf.training.progress import Countdown, Progress, duration
from gfl_tf.training.run_dir import RunDirectory
from gfl_tf.training.stop import StopRequest


class _Stopped(Exception):
    pass


def write(
    run: RunDirectory,
    config: ml_collections.ConfigDict,
    dataset: CocoDataset | None,
    progress: Progress,
    stop: StopRequest,
) -> None:
    """Evaluates the best weights once more, for what the training does not keep, and writes the page.

    The run is finished and saved before. So nothing is raised: what goes wrong is said, and the page is left out. A
    single worker, as this is, does not wait for the others.

    Args:
        run: the finished run.
        config: its resolved config.
        dataset: the validation data; None: there is none.
        progress: tells of it.
        stop: a request to stop leaves the page out.
    """
    if not config.train.report_page:
        return
    start = time.perf_counter()
    try:
        path = report_page.write(run.report_page.parent, run, config, _evaluated(run, config, dataset, progress, stop))
    except _Stopped:
        progress.say("The page about the run was left out, as the training was told to stop.")
    except Exception as error:  # whatever it is, the run is whole
        logging.warning("The page about the run could not be written: %s", error)
    else:
        progress.say(f"The page about the run lies in {path} ({duration(time.perf_counter() - start)}).")


def _evaluated(run, config, dataset, progress, stop):
    if dataset is None:
        return None
    countdown = Countdown()

    def on_batch(done, total):
        progress.draw(done, total, f"images for the page  {countdown.left(done, total)}")
        if stop.signal:
            raise _Stopped

    model, _ = run_dir.load_run(run.path, "best")
    batch_size = config.train.evaluation_batch_size
    result, measured = trust.evaluate(model, dataset, batch_size, config.data.scale, progress=on_batch)
    return report_page.Evaluated("best", model, dataset, result, measured)
