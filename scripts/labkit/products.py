"""What one scenario's run leaves for others: disks (snapshots) and files.

Each is kept with what it was made from, so that it is made anew when the program, the
base disk or the scenario has changed.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from . import scenario as scenarios_module


@dataclass(frozen=True)
class Product:
    """One disk or file, the scenario that makes it, and where it is kept."""

    name: str
    maker: scenarios_module.Scenario
    # Beside it lies `<path>.json`, what it was made from, except for disks: `<name>.json`.
    path: Path
    # What else has to be there.
    beside: tuple = ()

    @property
    def note(self):
        return note_of(self.path)


def snapshot_path(bench, name):
    return bench.cache / "snapshots" / f"{name}.qcow2"


def kept_path(bench, name):
    return bench.cache / "kept" / name


def note_of(path):
    return path.with_suffix(".json") if path.suffix == ".qcow2" else path.with_name(f"{path.name}.json")


def needed(bench, scenarios, scenario):
    """What must be there before this scenario can start."""
    products = []
    source = scenario.host["from"]
    if source:
        path = snapshot_path(bench, source)
        products.append(Product(source, scenarios_module.maker_of(scenarios, source), path,
                                (path.with_suffix(".trees.json"),)))
    for name in scenario.host["media"]:
        products.append(Product(name, scenarios_module.keeper_of(scenarios, name), kept_path(bench, name)))
    return products


def fresh(bench, scenarios, product, binary):
    """Whether it is there and was made from what would make it now."""
    try:
        made_from = json.loads(product.note.read_text())
    except (OSError, ValueError):
        return False
    there = all(path.is_file() for path in (product.path, *product.beside))
    return there and made_from == inputs(bench, scenarios, product.maker, binary)


def record(bench, scenarios, scenario, binary, path):
    """Notes what the product at `path` was made from."""
    note_of(path).write_text(json.dumps(inputs(bench, scenarios, scenario, binary)))


def inputs(bench, scenarios, maker, binary):
    host = maker.host
    found = {
        "base": bench.disk_of(host).name,
        "scenario": hashlib.sha256(maker.text.encode()).hexdigest(),
        "binary": hashlib.sha256(binary.read_bytes()).hexdigest() if binary else None,
    }
    # A machine that goes on from another's end changes with it.
    earlier = needed(bench, scenarios, maker)
    if earlier:
        found["from"] = {product.name: inputs(bench, scenarios, product.maker, binary) for product in earlier}
    return found
