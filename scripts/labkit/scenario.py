"""Scenarios: short YAML files under tests/lab."""

import re
from dataclasses import dataclass, field

from . import disk, gate

# What a catalog can be like; see catalog.py.
CATALOG_STATES = ("good", "tampered", "tampered-module", "expired", "wrong-key", "rolled-back")

_ACTIONS = {
    "run": {"exit", "contains", "absent", "equals", "limit", "about", "quiet"},
    "wait_for": {"exit", "contains", "absent", "limit", "about"},
    "wait_reboot": {"limit", "about"},
    "boot": {"limit", "about"},
    "power_cycle": {"limit", "about"},
    "power_cut": {"after", "when", "limit", "about"},
    "shutdown": {"limit", "about"},
    "tree": {"about"},
    "same_tree": {"except", "about"},
    "snapshot": {"about"},
    "keep": {"limit", "about"},
    "offer": {"about"},
    "catalog": {"about"},
    "put": {"text", "lab", "mode", "about"},
    "registry": {"about"},
    "repository": {"about"},
    "console": {"about", "limit", "recording"},
}
_HOST = {
    # As Alpine's: what the disk and the network need are modules of lts, and built into virt.
    "kernels_offered": ["6.12.50-0-virt", "6.12.50-0-lts.modular"],
    # `debian`: Debian 13 with its own docker and systemd, on the lab's kernel.
    "distribution": "alpine",
    "alpine": "3.22.1", "from": None,
    "disk": "2G", "memory": 1536, "processors": 1, "cache": "writeback", "binary": True,
    "loader": disk.DEFAULT_LOADER,
    # Words that whoever set the machine up has added to the kernel's command line.
    "cmdline": "",
    # `none`: a machine without any network device.
    "network": "user",
    # Files that other scenarios have kept, on a second disk, read-only.
    "media": [],
    # What https://modules.lab/ serves: {modules: [KERNEL], kernels: [KERNEL], state: STATE}.
    "catalog": None,
    # What its registry is like from the start; see gate.py.
    "registry": "up",
}
_NETWORKS = ("user", "none")
_DISTRIBUTIONS = ("alpine", "debian")
_CATALOG = {"modules", "kernels", "state"}
# A file's name on a disk and in the cache.
_KEPT_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,60}")
_KEYS = {"name", "about", "ci", "host", "files", "time_limit", "steps"}


class Invalid(Exception):
    """A scenario file that cannot be run; the text says where and why."""


@dataclass
class Scenario:
    name: str
    about: str
    host: dict
    steps: list
    files: dict = field(default_factory=dict)
    time_limit: int = 900
    ci: bool = False
    text: str = ""

    @property
    def snapshots(self):
        return [step["snapshot"] for step in self.steps if "snapshot" in step]

    @property
    def kept(self):
        """Names of the files that its run leaves for others."""
        return [step["keep"]["as"] for step in self.steps if "keep" in step]

    @property
    def gated(self):
        """Whether its machine has a registry of its own state."""
        states = [self.host["registry"], *(step["registry"] for step in self.steps if "registry" in step)]
        return any(state != "up" for state in states)

    @property
    def catalog(self):
        """Whether its machine reaches a catalog."""
        return self.host["catalog"] is not None or any("catalog" in step for step in self.steps)


def load_all(directory):
    """All scenarios by name, in the order of their files."""
    scenarios = {}
    for path in sorted(directory.glob("*.yaml")):
        scenario = _load(path)
        scenarios[scenario.name] = scenario
    return scenarios


def action_of(step):
    return next(key for key in step if key in _ACTIONS)


def maker_of(scenarios, snapshot):
    """The scenario whose run ends in that snapshot."""
    for scenario in scenarios.values():
        if snapshot in scenario.snapshots:
            return scenario
    raise Invalid(f"no scenario makes the snapshot {snapshot}")


def keeper_of(scenarios, name):
    """The scenario whose run keeps the file of that name."""
    for scenario in scenarios.values():
        if name in scenario.kept:
            return scenario
    raise Invalid(f"no scenario keeps a file {name}")


def _load(path):
    import yaml  # may have been installed a moment ago

    text = path.read_text()
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Invalid(f"{path.name}: {error}") from None
    _known(path.name, data, _KEYS)
    missing = {"name", "about", "steps"} - set(data)
    if missing:
        raise Invalid(f"{path.name}: lacks {', '.join(sorted(missing))}")
    host = data.get("host") or {}
    _known(f"{path.name}: host", host, _HOST)
    if host.get("loader", disk.DEFAULT_LOADER) not in disk.LOADERS:
        raise Invalid(f"{path.name}: host: no loader {host['loader']}; "
                      f"there are {', '.join(disk.LOADERS)}")
    _check_host(f"{path.name}: host", host)
    for number, step in enumerate(data["steps"], 1):
        _check_step(f"{path.name}: step {number}", step)
    return Scenario(
        name=data["name"], about=data["about"], host={**_HOST, **host}, steps=data["steps"],
        files=data.get("files") or {}, time_limit=data.get("time_limit", 900),
        ci=bool(data.get("ci")), text=text,
    )


def _check_step(where, step):
    actions = [key for key in step if key in _ACTIONS]
    if len(actions) != 1:
        raise Invalid(f"{where}: needs exactly one of {', '.join(_ACTIONS)}")
    _known(where, step, {actions[0], *_ACTIONS[actions[0]]})
    if "keep" in step:
        _known(where, step["keep"], {"path", "as"})
        if set(step["keep"]) != {"path", "as"} or not _KEPT_NAME.fullmatch(str(step["keep"]["as"])):
            raise Invalid(f"{where}: keep needs a path, and as which plain file name it is kept")
    if "console" in step:
        _check_console(where, step)
    if "catalog" in step:
        _check_catalog(where, step["catalog"])
    if isinstance(step.get("registry"), dict):
        # A tag that leads to another image from now on.
        _known(where, step["registry"], {"tag", "image"})
    elif "registry" in step:
        _check_registry(where, step["registry"])


def _check_console(where, step):
    if not _KEPT_NAME.fullmatch(str(step.get("recording"))):
        raise Invalid(f"{where}: a console needs a plain file name for its recording")
    if not isinstance(step["console"], list):
        raise Invalid(f"{where}: console is a list of {{wait: TEXT, type: LINE or hide: LINE}}")
    for act in step["console"]:
        _known(where, act, {"wait", "type", "hide", "limit"})
        if act.get("wait") == "":
            raise Invalid(f"{where}: nothing is no text to wait for")


def _check_host(where, host):
    distribution = host.get("distribution", "alpine")
    if distribution not in _DISTRIBUTIONS:
        raise Invalid(f"{where}: no distribution {distribution}; there are {', '.join(_DISTRIBUTIONS)}")
    if distribution != "alpine":
        for key in ("loader", "cmdline", "alpine", "disk"):
            if key in host:
                raise Invalid(f"{where}: there is no choice of {key} with {distribution}")
    network = host.get("network", "user")
    if network not in _NETWORKS:
        raise Invalid(f"{where}: no network {network}; there are {', '.join(_NETWORKS)}")
    if network == "none" and host.get("catalog") is not None:
        raise Invalid(f"{where}: a machine without a network reaches no catalog")
    if host.get("cmdline") and host.get("from"):
        raise Invalid(f"{where}: cmdline belongs to the scenario that makes {host['from']}")
    _check_registry(where, host.get("registry", "up"))
    if not isinstance(host.get("media", []), list):
        raise Invalid(f"{where}: media is a list of kept files")
    if host.get("catalog") is not None:
        _check_catalog(f"{where}: catalog", host["catalog"])


def _check_registry(where, state):
    if state not in gate.STATES:
        raise Invalid(f"{where}: no state {state} of a registry; there are {', '.join(gate.STATES)}")


def _check_catalog(where, wanted):
    _known(where, wanted, _CATALOG)
    state = wanted.get("state", "good")
    if state not in CATALOG_STATES:
        raise Invalid(f"{where}: no state {state}; there are {', '.join(CATALOG_STATES)}")


def _known(where, data, keys):
    if not isinstance(data, dict):
        raise Invalid(f"{where}: expected keys and values")
    unknown = [key for key in data if key not in keys]
    if unknown:
        raise Invalid(f"{where}: unknown key {unknown[0]}; known are {', '.join(sorted(keys))}")
