"""The most that a job can cost: machine-hours always, money only by prices that the user gives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainer.cloud.schema_values import duration_secs, number, whole
from trainer.job.errors import UsageError
from trainer.job.mistakes import closest, proposal

DEFAULT_TIMEOUT_SECS = 7 * 24 * 3600.0  # Vertex AI's own, where a job says none
KEYS = ("currency", "machines", "accelerators")


@dataclass(frozen=True)
class Machines:
    """One pool: `replicas` machines of a type, each with `accelerators` of a type."""

    machine_type: str
    replicas: int
    accelerator_type: str | None = None
    accelerators: int = 0

    def __str__(self) -> str:
        more = f" with {self.accelerators} x {self.accelerator_type}" if self.accelerator_type else ""
        return f"{self.replicas} x {self.machine_type}{more}"


@dataclass(frozen=True)
class Bound:
    """What a job or a study can take at most: every trial, on every machine, until its timeout."""

    pools: tuple[Machines, ...]
    timeout_secs: float
    trials: int

    @property
    def hours_each(self) -> float:
        """Hours that one machine works at most, over all trials."""
        return self.timeout_secs / 3600 * self.trials

    @property
    def machine_hours(self) -> float:
        """Replicas x timeout x trials, over all pools."""
        return sum(pool.replicas for pool in self.pools) * self.hours_each

    def __str__(self) -> str:
        trials = f" x {self.trials} trials" if self.trials > 1 else ""
        machines = " + ".join(map(str, self.pools))
        factors = f"{machines}, {_in_words(self.timeout_secs / 3600)} h{trials}"
        return f"at most {_in_words(self.machine_hours)} machine-hours: {factors}"


@dataclass(frozen=True)
class Prices:
    """Prices an hour, as the user's file has them."""

    path: str
    currency: str
    machines: Mapping[str, float]
    accelerators: Mapping[str, float] = field(default_factory=dict)

    def missing(self, bound: Bound) -> list[str]:
        """The machine and accelerator types of a job that the file has no price for."""
        wanted = [(pool.machine_type, self.machines) for pool in bound.pools]
        wanted += [(pool.accelerator_type, self.accelerators) for pool in bound.pools if pool.accelerator_type]
        return list(dict.fromkeys(name for name, known in wanted if name not in known))

    def most(self, bound: Bound) -> float | None:
        """The upper bound in `currency`; None where a price is missing. Disks, network and storage are not in it."""
        if self.missing(bound):
            return None
        an_hour = sum(pool.replicas * self._machine(pool) for pool in bound.pools)
        return an_hour * bound.hours_each

    def _machine(self, pool: Machines) -> float:
        added = pool.accelerators * self.accelerators[pool.accelerator_type] if pool.accelerator_type else 0.0
        return self.machines[pool.machine_type] + added


def machine_hours(job_spec: Mapping[str, Any], trials: Any = None) -> Bound | None:
    """The upper bound for a CustomJobSpec; None where the file's mistakes leave it open.

    Args:
      job_spec: as read from the file, right or wrong.
      trials: the study's maxTrialCount; None for a job alone.
    """
    pools = job_spec.get("workerPoolSpecs")
    scheduling = job_spec.get("scheduling") or {}
    said = scheduling.get("timeout") if isinstance(scheduling, Mapping) else ""
    secs = DEFAULT_TIMEOUT_SECS if said is None else duration_secs(said)
    count = 1 if trials is None else whole(trials)
    if not isinstance(pools, list) or not secs or not count or count < 0:
        return None
    machines = list(_machines(pools))
    return Bound(tuple(each for each in machines if each), secs, count) if machines and all(machines) else None


def read_prices(path: str) -> Prices:
    """Read a file of prices: `currency: EUR`, and below `machines` and `accelerators` a price an hour for each type.

    Raises:
      UsageError: the file is missing, not YAML, or holds anything else.
    """
    content = _yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get("machines"), dict):
        raise UsageError(
            f"--prices={path}: expected currency, machines and accelerators, such as machines: {{n1-standard-4: 0.25}}."
        )
    unknown = next((str(key) for key in content if key not in KEYS), None)
    if unknown:
        near = closest(unknown, KEYS)
        hint = proposal(near) if near else "machine types stand below machines."
        raise UsageError(f"--prices={path}: unknown {unknown}: {hint}")
    currency = content.get("currency")
    if not isinstance(currency, str) or not currency.strip():
        raise UsageError(f"--prices={path}: say what the prices are in, such as currency: EUR.")
    machines, accelerators = (_table(path, heading, content.get(heading) or {}) for heading in KEYS[1:])
    return Prices(path, currency, machines, accelerators)


def price_lines(bound: Bound, prices: Prices | None) -> list[str]:
    """What to print about money."""
    if prices is None:
        return []
    most, missing = prices.most(bound), prices.missing(bound)
    if most is None:
        return [f"no price: {prices.path} has none for {', '.join(missing)}"]
    return [f"at most {most:,.2f} {prices.currency} by {prices.path}, without disks, network and storage"]


def _in_words(hours: float) -> str:
    return f"{hours:,.2f}".rstrip("0").rstrip(".") if hours >= 0.01 else f"{hours:.1g}"


def _machines(pools: Sequence[Any]) -> Iterator[Machines | None]:
    for pool in pools:
        if not pool and isinstance(pool, Mapping):
            continue  # a placeholder
        machine = pool.get("machineSpec") if isinstance(pool, Mapping) else None
        yield _pool(machine, whole(pool.get("replicaCount"))) if isinstance(machine, Mapping) else None


def _pool(machine: Mapping[str, Any], replicas: int | None) -> Machines | None:
    name, accelerator = machine.get("machineType"), machine.get("acceleratorType")
    count = whole(machine.get("acceleratorCount")) or 0
    if not isinstance(name, str) or not replicas or replicas < 0:
        return None
    return Machines(name, replicas, accelerator, count) if isinstance(accelerator, str) else Machines(name, replicas)


def _yaml(path: str) -> Any:
    import yaml  # only a check with prices pays for it

    try:
        with open(path, encoding="utf-8") as file:
            return yaml.safe_load(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise UsageError(f"--prices={path} cannot be read ({reason}): give a YAML file of prices.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"--prices={path} is not YAML: {' '.join(str(error).split())}.") from None


def _table(path: str, heading: str, said: Any) -> dict[str, float]:
    if not isinstance(said, dict):
        raise UsageError(f"--prices={path}: {heading}: expected lines such as n1-standard-4: 0.25.")
    for name, price in said.items():
        found = number(price)
        if not isinstance(name, str) or found is None or found < 0:
            raise UsageError(f"--prices={path}: {heading}: {name}: {price!r} is no price an hour; give a number.")
    return {name: float(price) for name, price in said.items()}
