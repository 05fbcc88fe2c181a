"""Takes a sample of a list, by several methods."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, Literal

from pydantic import Field

from autogpt_server.errors import BlockError
from autogpt_server.model.block import Block, BlockCategory, BlockContext, BlockOutput, BlockSchema

Method = Literal["random", "systematic", "top", "bottom", "stratified", "weighted", "reservoir", "cluster"]


class DataSamplingBlock(Block):
    id = "4a448883-71fa-49cf-91cf-70d793bd7d87"
    description = "Takes a sample of a list."
    categories = frozenset({BlockCategory.DATA})

    class Input(BlockSchema):
        data: list[Any] | dict[str, Any] = Field(description="The list; an object counts as a list of one.")
        sample_size: int = Field(default=10, ge=0, description="How many items to take.")
        sampling_method: Method = Field(default="random", description="How to choose them.")
        accumulate: bool = Field(default=False, description="Not supported: must be false.")
        random_seed: int | None = Field(default=None, description="The same seed takes the same sample.")
        stratify_key: str | None = Field(default=None, description="Stratified: the key that names an item's group.")
        weight_key: str | None = Field(default=None, description="Weighted: the key of an item's weight.")
        cluster_key: str | None = Field(default=None, description="Cluster: the key that names an item's cluster.")

    class Output(BlockSchema):
        sampled_data: list[Any] = Field(description="The items.")
        sample_indices: list[int] = Field(description="Their positions in the list.")

    test_input = [
        {"data": list("abcdef"), "sample_size": 2, "sampling_method": "top"},
        {"data": list("abcdef"), "sample_size": 2, "sampling_method": "bottom"},
        {"data": list("abcdef"), "sample_size": 3, "random_seed": 1},
    ]
    test_output = [
        ("sampled_data", ["a", "b"]),
        ("sample_indices", [0, 1]),
        ("sampled_data", ["e", "f"]),
        ("sample_indices", [4, 5]),
        ("sampled_data", list),
        ("sample_indices", list),
    ]

    def run(self, input_data: Input, context: BlockContext) -> BlockOutput:
        if input_data.accumulate:
            raise BlockError("a block keeps nothing between two runs; collect the items with AddToListBlock first")
        items = input_data.data if isinstance(input_data.data, list) else [input_data.data]
        if input_data.sample_size > len(items):
            raise BlockError(f"a sample of {input_data.sample_size} cannot be taken from {len(items)} items")
        # Without a seed of its own a rerun of this very node still takes the same sample.
        seed = context.node_execution_id if input_data.random_seed is None else input_data.random_seed
        indices = _METHODS[input_data.sampling_method](items, input_data, Random(seed))
        yield "sampled_data", [items[index] for index in indices]
        yield "sample_indices", indices


def _random(items: list[Any], wanted: DataSamplingBlock.Input, chance: Random) -> list[int]:
    return chance.sample(range(len(items)), wanted.sample_size)


def _systematic(items: list[Any], wanted: DataSamplingBlock.Input, chance: Random) -> list[int]:
    if not wanted.sample_size:
        return []
    step = len(items) / wanted.sample_size
    start = chance.random() * step
    return [min(int(start + step * number), len(items) - 1) for number in range(wanted.sample_size)]


def _top(items: list[Any], wanted: DataSamplingBlock.Input, chance: Random) -> list[int]:
    return list(range(wanted.sample_size))


def _bottom(items: list[Any], wanted: DataSamplingBlock.Input, chance: Random) -> list[int]:
    return list(range(len(items) - wanted.sample_size, len(items)))


def _stratified(items: list[Any], wanted: DataSamplingBlock.Input, chance: Random) -> list[int]:
    """Each group gets its share; what rounding leaves goes to those that lost most by it."""
    groups = _groups(items, wanted.stratify_key, "stratify_key")
    shares = {name: len(group) * wanted.sample_size / len(items) for name, group in groups.items()}
    sizes = {name: int(share) for name, share in shares.items()}
    neediest = sorted(shares, key=lambda name: sizes[name] - shares[name])
    for name in neediest[: wanted.sample_size - sum(sizes.values())]:
        sizes[name] += 1
    return [index for name, group in groups.items() for index in chance.sample(group, sizes[name])]


def _weighted(items: list[Any], wanted: DataSamplingBlock.Input, chance: Random) -> list[int]:
    """Takes with replacement, so that an item of great weight may come more than once."""
    weights: list[float] = []
    for index, value in enumerate(_values(items, wanted.weight_key, "weight_key")):
        try:
            weights.append(float(value))
        except (TypeError, ValueError):
            raise BlockError(f"the weight of item {index} is no number: {value!r:.100}") from None
    if any(weight < 0 for weight in weights) or not 0 < sum(weights) < float("inf"):
        raise BlockError("weights must not be negative, and one must be above zero")
    return chance.choices(range(len(items)), weights, k=wanted.sample_size)


def _cluster(items: list[Any], wanted: DataSamplingBlock.Input, chance: Random) -> list[int]:
    """Takes whole clusters until there are enough items, then leaves some of them out again."""
    clusters = list(_groups(items, wanted.cluster_key, "cluster_key").values())
    chance.shuffle(clusters)
    taken: list[int] = []
    while len(taken) < wanted.sample_size:
        taken += clusters.pop()
    return chance.sample(taken, wanted.sample_size)


_METHODS: dict[Method, Callable[[list[Any], DataSamplingBlock.Input, Random], list[int]]] = {
    "random": _random,
    "systematic": _systematic,
    "top": _top,
    "bottom": _bottom,
    "stratified": _stratified,
    "weighted": _weighted,
    # A reservoir gives what a plain random sample gives; it only takes a stream instead of a list.
    "reservoir": _random,
    "cluster": _cluster,
}


def _groups(items: list[Any], key: str | None, pin: str) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for index, value in enumerate(_values(items, key, pin)):
        groups.setdefault(str(value), []).append(index)
    return groups


def _values(items: list[Any], key: str | None, pin: str) -> list[Any]:
    if not key:
        raise BlockError(f"this method needs `{pin}`")
    for index, item in enumerate(items):
        if not isinstance(item, dict) or key not in item:
            raise BlockError(f"item {index} has no {key!r}")
    return [item[key] for item in items]
