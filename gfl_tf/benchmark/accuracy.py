"""AP of what was timed."""

from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.results import Result, Row
from gfl_tf.benchmark.rounds import once
from gfl_tf.evaluation import coco
from gfl_tf.training import config as configs


def measure(bench: Bench) -> Result:
    """Each detector that has trained weights, in each precision, on its run's validation data."""
    result = Result()
    for artifact in bench.detectors:
        if artifact.run_dir is None:
            result.missing.append(f"{artifact.name} has random weights: --run_dir=RUN times and evaluates trained ones")
            continue
        dataset = configs.load_split(artifact.config, "val")
        if not dataset.num_boxes:
            result.missing.append(f"{artifact.name}: {dataset.report.source} has no box to find, and thereby no AP")
            continue
        batch_size, scale = artifact.config.train.evaluation_batch_size, artifact.config.data.scale
        for precision in bench.settings.precisions:
            found = coco.evaluate(artifact.build(precision), dataset, batch_size, scale)
            of = f"{artifact.name}, {found.num_images} images, {precision}"
            result.rows.append(Row(of, "AP", once(100 * found.metrics["AP"]), "%"))
    return result
