"""Several trainings, or evaluations, side by side."""

import collections.abc
import dataclasses
import functools
import typing

from gfl_tf.comparison.evaluations import Evaluation
from gfl_tf.comparison.scoring import Scored, score
from gfl_tf.data.coco import CocoDataset
from gfl_tf.evaluation import bootstrap
from gfl_tf.evaluation.bootstrap import Difference
from gfl_tf.evaluation.coco import METRICS

RESAMPLES, SEED = 1000, 0


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What is known of R evaluations.

    Attributes:
        dataset: `CocoDataset` of all of them.
        evaluations: R of `Evaluation`.
        scored: R of `Scored`.
        resamples, seed: of the bootstrap.
    """

    dataset: CocoDataset
    evaluations: list[Evaluation]
    scored: list[Scored]
    resamples: int
    seed: int

    def differences(self, index: int) -> dict[str, dict[str, Difference | None]]:
        """Of the evaluation with that index from the first one.

        Returns:
            {"metrics": {name: `Difference`} of `coco.METRICS`, "per_class_AP": of the classes}; None for a number of
            objects that the data set does not have.
        """
        first, other = self.scored[0], self.scored[index]
        total = zip(METRICS, first.total.T, other.total.T)
        per_class = zip(self.dataset.class_names, first.per_class[:, :, 0].T, other.per_class[:, :, 0].T)
        return {
            "metrics": {name: _difference(one, two) for name, one, two in total},
            "per_class_AP": {name: _difference(one, two) for name, one, two in per_class},
        }

    def content(self) -> dict[str, typing.Any]:
        """All of it as plain values for JSON."""
        kinds = ("metrics", "per_class_AP", "scores", "edges", "settings", "tta")
        return {
            "data": {"source": self.dataset.report.source, "num_images": len(self.dataset.images)},
            "bootstrap": {"resamples": self.resamples, "seed": self.seed, "level": bootstrap.LEVEL},
            "runs": [
                {
                    "name": each.name,
                    "evaluation": str(each.folder),
                    **{kind: each.metrics[kind] for kind in kinds if kind in each.metrics},
                }
                for each in self.evaluations
            ],
            "differences_from_first": [
                {"name": each.name, **_plain(self.differences(index))}
                for index, each in enumerate(self.evaluations)
                if index
            ],
        }


def compare(
    dataset: CocoDataset,
    evaluations: collections.abc.Sequence[Evaluation],
    resamples: int = RESAMPLES,
    seed: int = SEED,
    progress: collections.abc.Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Comparison:
    """Scores evaluations again, over all images and in the same resamples of these.

    Args:
        dataset, evaluations: of `evaluations.collect`.
        resamples: how many.
        seed: of the drawing.
        progress: called after every class of an evaluation with (classes done, classes in all, of what).

    Raises:
        ValueError: the files of an evaluation are damaged or do not belong together.
    """
    draws = bootstrap.draws(len(dataset.images), resamples, seed)
    scored = [
        score(each, dataset, draws, functools.partial(progress, text=f"classes of {each.name} scored"))
        for each in evaluations
    ]
    return Comparison(dataset, list(evaluations), scored, resamples, seed)


def _difference(one, two):
    """Of [1 + S] values each, the first over all images."""
    return bootstrap.difference(one[0], two[0], one[1:], two[1:])


def _plain(differences):
    return {
        kind: {
            name: None if found is None else {**found._asdict(), "more_than_chance": found.is_more_than_chance}
            for name, found in of_kind.items()
        }
        for kind, of_kind in differences.items()
    }
