"""An int8 ONNX export in ONNX Runtime, over the float32 one. `gfl-compare-exports` has its AP."""

from gfl_tf.benchmark import peers
from gfl_tf.benchmark.bench import Bench
from gfl_tf.benchmark.peers_runtimes import exported, in_onnx_runtime, noise
from gfl_tf.benchmark.results import Goal, Result, Row
from gfl_tf.benchmark.workloads import Case
from gfl_tf.serving import onnx_int8

HALF = Goal(most=0.5)


def measure(bench: Bench) -> Result:
    """The first detector on the first size."""
    result = Result()
    if lacking := peers.lacks("ONNX Runtime"):
        result.missing.append(lacking)
        return result
    artifact, case = bench.detectors[0], Case(*bench.settings.sizes[0])
    wide = exported(artifact, case)
    contents = {"float32": wide, "int8": onnx_int8.quantized(wide, noise(case))}
    rounds = bench.take_turns({name: in_onnx_runtime(content, case) for name, content in contents.items()})
    result.rounds.append(rounds)
    of = f"{artifact.name}, {case}, ONNX Runtime"
    result.rows += [Row(of, name, rounds.time(name, 1e3), "ms") for name in contents]
    result.rows.append(Row(of, "int8 / float32", rounds.ratio("int8", "float32"), goal=HALF))
    return result
