r"""Detections in very many images as an Apache Beam pipeline; its extra is `beam`.

    python -m gfl_tf.serving.beam --model=saved_models/shapes/1 --input=photos --output=found \
        --direct_num_workers=2 --direct_running_mode=multi_processing

All other options are Beam's, so that --runner=FlinkRunner, SparkRunner or DataflowRunner runs the same pipeline on a
cluster whose workers have gfl_tf installed and reach the paths. The rows are those of gfl-predict-many (docs/bulk.md).
"""

import argparse
import collections.abc
import os
import sys
import typing

import apache_beam as beam
import tensorflow as tf
from apache_beam.io import fileio
from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from gfl_tf.data import images as image_ops
from gfl_tf.serving import many, many_inputs, many_outputs, runners, signatures

COUNTERS = ("images", "unreadable", "detections")
UNREADABLE_STATUS = 3


class ReadImages(beam.DoFn):
    """Paths of image files in a folder to items: {"image", "record", "content", "error"}."""

    def __init__(self, folder: str):
        self._folder = folder

    def process(self, metadata: FileMetadata) -> collections.abc.Iterator[dict[str, typing.Any]]:
        item = {"image": metadata.path.removeprefix(f"{self._folder}/"), "record": None, "content": b"", "error": None}
        try:
            with FileSystems.open(metadata.path) as file:
                yield {**item, "content": file.read()}
        except OSError as error:
            yield {**item, "error": f"cannot be read: {error}"}


class ReadRecords(beam.DoFn):
    """Paths of TFRecord files to items, as those of `ReadImages`. Raises where a file is damaged: the job fails."""

    def __init__(self, folder: str, image_feature: str, id_features: list[str]):
        self._folder, self._image_feature, self._id_features = folder, image_feature, id_features

    def process(self, metadata: FileMetadata) -> collections.abc.Iterator[dict[str, typing.Any]]:
        file = metadata.path.removeprefix(f"{self._folder}/")
        for index, serialized in enumerate(tf.data.TFRecordDataset(metadata.path).as_numpy_iterator()):
            name, content, error = many_inputs.from_example(serialized, self._image_feature, self._id_features)
            record = f"{file}:{index}"
            yield {"image": name or record, "record": record, "content": content, "error": error or None}


class Detect(beam.DoFn):
    """Lists of items to rows. The threads of a process share one model, which is loaded when the first of them starts.

    Args:
        model: folder of one version of a SavedModel.
        batch_size: at most so many images of one size go through the model at once.
        max_pixels: larger images are refused before they are decoded.
    """

    def __init__(self, model: str, batch_size: int, max_pixels: int):
        self._model, self._batch_size, self._max_pixels = model, batch_size, max_pixels
        self._shared = Shared()
        self._counters = {name: Metrics.counter("gfl_tf", name) for name in COUNTERS}

    def setup(self) -> None:
        self._detect, self._decode = self._shared.acquire(self._load, self._model).functions

    def _load(self):
        return _Functions(runners.load_batched(self._model), many.decode_function(self._max_pixels))

    def process(self, items: list[dict[str, typing.Any]]) -> collections.abc.Iterator[dict[str, typing.Any]]:
        decoded = [self._decoded(item) for item in items]
        for row in many.rows_of(decoded, self._detect, self._batch_size):
            self._counters["images"].inc()
            self._counters["unreadable"].inc(int(row["error"] is not None))
            self._counters["detections"].inc(len(row["detections"]))
            yield row

    def _decoded(self, item):
        item = {**item, "pixels": None}
        if item["error"] is None:
            pixels, status = (value.numpy() for value in self._decode(tf.constant(item.pop("content"))))
            item.update(pixels=pixels, error=many.error_of(status))
        return item


class _Functions:
    """What `Shared` keeps: it must be an object that can be referred to weakly."""

    def __init__(self, *functions):
        self.functions = functions


def pipeline(root: beam.Pipeline, arguments: argparse.Namespace) -> None:
    """Adds all steps to a pipeline; the arguments are those of `parse`."""
    if arguments.input:
        folder = arguments.input.rstrip("/")
        items = (
            root
            | fileio.MatchFiles(f"{folder}/**", fileio.EmptyMatchTreatment.DISALLOW)
            | "Images"
            >> beam.Filter(lambda metadata: image_ops.is_named_like_an_image(os.path.basename(metadata.path)))
            | beam.Reshuffle()  # or one worker would do it all
            | beam.ParDo(ReadImages(folder))
        )
    else:
        pattern, folder = many_inputs.record_pattern(arguments.tfrecords)
        items = (
            root
            | fileio.MatchFiles(pattern, fileio.EmptyMatchTreatment.DISALLOW)
            | beam.ParDo(ReadRecords(folder, arguments.image_feature, arguments.id_features.split(",")))
            | beam.Reshuffle()
        )
    rows = (
        items
        | beam.BatchElements(min_batch_size=1, max_batch_size=many.BATCHES_AHEAD * arguments.batch_size)
        | beam.ParDo(Detect(arguments.model, arguments.batch_size, arguments.max_pixels))
    )
    target = dict(file_path_prefix=f"{arguments.output.rstrip('/')}/part", num_shards=arguments.num_shards)
    if arguments.format == "parquet":
        schema = many_outputs.parquet_schema()
        rows | beam.io.WriteToParquet(**target, schema=schema, file_name_suffix=".parquet")
    else:
        lines = rows | beam.Map(many_outputs.to_line)
        lines | beam.io.WriteToText(**target, coder=beam.coders.BytesCoder(), file_name_suffix=".jsonl")


def parse(command_line: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The arguments of this pipeline, and those that are Beam's."""
    parser = argparse.ArgumentParser(
        prog="python -m gfl_tf.serving.beam",
        description=__doc__.replace("%", "%%"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--model", required=True, help="folder of one version of an exported SavedModel")
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--input", help="folder of images, with all folders in it")
    images.add_argument("--tfrecords", help="TFRecord files in place of --input: a file, a pattern or a folder")
    parser.add_argument("--image_feature", default="image/encoded", help="of TFRecords: which has the encoded image")
    parser.add_argument("--id_features", default="image/filename,image/source_id", help="of TFRecords: name the image")
    parser.add_argument("--output", required=True, help="folder to write part-SSSSS-of-NNNNN files to")
    parser.add_argument("--format", default="jsonl", choices=many_outputs.FORMATS)
    parser.add_argument("--num_shards", type=int, default=0, help="number of files; 0: the runner decides")
    parser.add_argument("--batch_size", type=int, default=8, help="images of one size at once")
    parser.add_argument("--max_pixels", type=int, default=signatures.MAX_PIXELS, help="larger images are refused")
    return parser.parse_known_args(command_line)


def run(command_line: list[str] | None = None) -> int:
    """Runs the pipeline, and waits for its end; returns the exit status: 3 where images could not be read.

    Raises:
        SystemExit: the output folder has results.
    """
    arguments, others = parse(sys.argv[1:] if command_line is None else command_line)
    earlier = FileSystems.match([f"{arguments.output.rstrip('/')}/part-*"])[0].metadata_list
    if earlier:
        raise SystemExit(f"beam: {arguments.output} has results, such as {earlier[0].path}; choose another --output")
    root = beam.Pipeline(options=PipelineOptions(others))
    pipeline(root, arguments)
    result = root.run()
    result.wait_until_finish()
    counts = {name: _count(result, name) for name in COUNTERS}
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return UNREADABLE_STATUS if counts["unreadable"] else 0


def _count(result, name):
    counters = result.metrics().query(MetricsFilter().with_namespace("gfl_tf").with_name(name))["counters"]
    return sum(counter.result for counter in counters)


if __name__ == "__main__":
    # By its name: what is defined in __main__ cannot be found by the workers.
    from gfl_tf.serving import beam as module

    sys.exit(module.run())
