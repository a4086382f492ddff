"""What an aggregate stands for: its metadata, else its name."""

from spotd.fleet.interpretation import Interpretation
from spotd.fleet.snapshot import ClassifiedAggregate, Pool
from spotd.fleet.values import Aggregate

POOL_KEY = "spotd:pool"
GPU_TYPE_KEY = "spotd:gpu_type"
VARIANT_KEY = "spotd:variant"
CONTRACT_KEY = "spotd:contract"


def classify(aggregate: Aggregate, interpretation: Interpretation) -> ClassifiedAggregate:
    """The pool, GPU type, variant and contract of an aggregate; metadata wins key by key over the name.

    A `spotd:pool` that is no pool leaves the aggregate without one: the name is not asked, since
    somebody meant something else than what it says.
    """
    name = _by_name(aggregate, interpretation)
    metadata = aggregate.metadata
    pool = _pool(metadata[POOL_KEY]) if POOL_KEY in metadata else name.pool
    contract = metadata.get(CONTRACT_KEY, name.contract)
    return ClassifiedAggregate(
        aggregate=aggregate,
        pool=pool,
        gpu_type=_text(metadata.get(GPU_TYPE_KEY, name.gpu_type)),
        variant=_text(metadata.get(VARIANT_KEY, name.variant)),
        contract=_text(contract) if pool is Pool.CONTRACT else None,
    )


def unknown_pool(classified: ClassifiedAggregate) -> str | None:
    """What the metadata calls the pool, where there is no such pool."""
    return classified.aggregate.metadata.get(POOL_KEY) if classified.pool is None else None


def stands_for_gpus(classified: ClassifiedAggregate) -> bool:
    """Whether its hosts are GPU hosts: it is a pool, or was meant to be one, or names a GPU type."""
    return (
        classified.pool is not None or classified.gpu_type is not None or unknown_pool(classified) is not None
    )


def _by_name(aggregate: Aggregate, interpretation: Interpretation) -> ClassifiedAggregate:
    for pattern in interpretation.patterns:
        if (match := pattern.name.fullmatch(aggregate.name)) is not None:
            groups = match.groupdict()
            return ClassifiedAggregate(
                aggregate=aggregate,
                pool=_pool(pattern.pool),
                gpu_type=groups.get("gpu_type"),
                variant=groups.get("variant") or pattern.variant,
                contract=groups.get("contract"),
            )
    return ClassifiedAggregate(aggregate=aggregate)


def _pool(text: str) -> Pool | None:
    try:
        return Pool(text.strip().lower())
    except ValueError:
        return None


def _text(text: str | None) -> str | None:
    """An empty value in the metadata says: none, whatever the name says."""
    return text.strip() or None if text is not None else None
