"""The upper bound of machine-hours, and money by the user's own prices only."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.cloud.costs import Bound, Machines, Prices, machine_hours, price_lines, read_prices
from trainer.job.errors import UsageError

GPU = {"machineType": "n1-standard-8", "acceleratorType": "NVIDIA_TESLA_T4", "acceleratorCount": 2}


def pool(replicas: Any = 1, **machine: Any) -> dict[str, Any]:
    return {"machineSpec": machine or {"machineType": "n1-standard-4"}, "replicaCount": replicas}


def job(*pools: Any, timeout: Any = "7200s") -> dict[str, Any]:
    return {"workerPoolSpecs": list(pools), "scheduling": {"timeout": timeout}}


@pytest.mark.parametrize(
    ("spec", "trials", "hours", "words"),
    [
        pytest.param(job(pool()), None, 2, "at most 2 machine-hours: 1 x n1-standard-4, 2 h", id="one machine"),
        pytest.param(
            job(pool(), pool("3"), {}, pool(**GPU)),
            None,
            10,
            "at most 10 machine-hours: 1 x n1-standard-4 + 3 x n1-standard-4 + 1 x n1-standard-8 with 2 x "
            "NVIDIA_TESLA_T4, 2 h",
            id="pools and a placeholder",
        ),
        pytest.param(
            job(pool(2), timeout="5436.5s"), 20, 60.40556, "60.41 machine-hours: 2 x n1-standard-4, 1.51 h x 20 trials",
            id="a study",
        ),
        pytest.param({"workerPoolSpecs": [pool()]}, None, 168, "168 machine-hours: 1 x n1-standard-4, 168 h", id="7 d"),
        pytest.param(job(pool(), timeout="18s"), None, 0.005, "at most 0.005 machine-hours", id="seconds"),
        pytest.param(
            job(pool(1000), timeout="604800s"), 100, 16_800_000, "at most 16,800,000 machine-hours", id="large"
        ),
    ],
)  # fmt: skip
def test_machine_hours(spec: dict[str, Any], trials: Any, hours: float, words: str) -> None:
    bound = machine_hours(spec, trials)
    assert bound is not None
    assert bound.machine_hours == pytest.approx(hours, rel=1e-6)
    assert words in str(bound)


@pytest.mark.parametrize(
    ("spec", "trials"),
    [
        pytest.param({}, None, id="no pools"),
        pytest.param(job(), None, id="empty pools"),
        pytest.param(job({}), None, id="only a placeholder"),
        pytest.param(job(pool("two")), None, id="no count"),
        pytest.param(job({"replicaCount": 1}), None, id="no machine"),
        pytest.param(job("pool"), None, id="text for a pool"),
        pytest.param(job(pool(), timeout="2h"), None, id="no duration"),
        pytest.param({**job(pool()), "scheduling": "soon"}, None, id="no scheduling"),
        pytest.param(job(pool()), "many", id="no count of trials"),
        pytest.param(job(pool()), 0, id="no trials"),
    ],
)
def test_no_bound_where_the_file_leaves_it_open(spec: dict[str, Any], trials: Any) -> None:
    assert machine_hours(spec, trials) is None


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=4),
    st.integers(1, 10**6),
    st.integers(1, 500),
    st.floats(0, 100),
)
def test_money_is_hours_times_price(replicas: list[int], secs: int, trials: int, price: float) -> None:
    bound = machine_hours(job(*map(pool, replicas), timeout=f"{secs}s"), trials)
    assert bound is not None
    assert bound.machine_hours == pytest.approx(sum(replicas) * secs / 3600 * trials)
    assert Prices("p", "EUR", {"n1-standard-4": price}).most(bound) == pytest.approx(bound.machine_hours * price)


BOUND = Bound((Machines("n1-standard-4", 1), Machines("n1-standard-8", 3, "NVIDIA_TESLA_T4", 2)), 7200, 10)


def write(folder: pathlib.Path, text: str) -> str:
    (folder / "prices.yaml").write_text(text)
    return str(folder / "prices.yaml")


def test_prices_of_machines_and_accelerators(tmp_path: pathlib.Path) -> None:
    path = write(
        tmp_path,
        "currency: EUR\nmachines: {n1-standard-4: 0.25, n1-standard-8: 0.5}\naccelerators: {NVIDIA_TESLA_T4: 1}\n",
    )
    prices = read_prices(path)
    assert prices.missing(BOUND) == []
    assert prices.most(BOUND) == (0.25 + 3 * (0.5 + 2 * 1)) * 2 * 10
    assert price_lines(BOUND, prices) == [f"at most 155.00 EUR by {path}, without disks, network and storage"]


def test_a_price_that_is_missing_is_named_and_none_is_invented(tmp_path: pathlib.Path) -> None:
    prices = read_prices(write(tmp_path, "currency: USD\nmachines: {n1-standard-4: 0.25}\n"))
    assert prices.missing(BOUND) == ["n1-standard-8", "NVIDIA_TESLA_T4"]
    assert prices.most(BOUND) is None
    assert price_lines(BOUND, prices) == [f"no price: {prices.path} has none for n1-standard-8, NVIDIA_TESLA_T4"]


def test_no_file_no_price() -> None:
    assert price_lines(BOUND, None) == []


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("", "expected currency, machines and accelerators", id="empty"),
        pytest.param("- n1-standard-4: 1", "expected currency, machines", id="a list"),
        pytest.param("currency: EUR", "expected currency, machines", id="no machines"),
        pytest.param("n1-standard-4: 0.25\n", "expected currency, machines", id="flat"),
        pytest.param("machines: {a-b: 1}", "say what the prices are in, such as currency: EUR.", id="no currency"),
        pytest.param("currency: 5\nmachines: {a-b: 1}", "such as currency: EUR.", id="a number for a currency"),
        pytest.param(
            "currency: EUR\nmachines: {}\naccelerator: {}", "unknown accelerator: did you mean accelerators?", id="key"
        ),
        pytest.param(
            "currency: EUR\nmachines: {}\nn1-standard-4: 1",
            "unknown n1-standard-4: machine types stand below machines.",
            id="outside",
        ),
        pytest.param("currency: EUR\nmachines: {a-b: free}", "machines: a-b: 'free' is no price an hour", id="text"),
        pytest.param("currency: EUR\nmachines: {a-b: -1}", "-1 is no price an hour", id="below nothing"),
        pytest.param("currency: EUR\nmachines: {a-b: .nan}", "nan is no price an hour", id="nan"),
        pytest.param(
            "currency: EUR\nmachines: {}\naccelerators: [1]", "accelerators: expected lines such as", id="list"
        ),
        pytest.param("currency: [EUR\n", "is not YAML", id="not YAML"),
    ],
)
def test_a_file_that_is_no_list_of_prices(tmp_path: pathlib.Path, text: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UsageError) as caught:
        read_prices(path)
    assert str(caught.value).startswith(f"--prices={path}")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: pathlib.Path) -> None:
    with pytest.raises(
        UsageError, match=r"cannot be read \(No such file or directory\): give a YAML file of prices\.$"
    ):
        read_prices(str(tmp_path / "none.yaml"))
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UsageError, match=r"cannot be read \(it is not UTF-8 text\)"):
        read_prices(str(tmp_path / "bytes.yaml"))
