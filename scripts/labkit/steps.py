"""What the steps of a scenario do. A step that does not hold raises Failed."""

import time

from . import terminal, trees
from .channel import Rebooted, TimedOut
from .scenario import action_of

_RUN_LIMIT = 120
_BOOT_LIMIT = 300
_KEEP_LIMIT = 300
_SAID_LIMIT = 60
_WAIT_PAUSE = 2


class Failed(Exception):
    """An expectation that was not met."""


def perform(step, stage):
    """Does one step on the stage: its machine, its narrative, its trees."""
    _ACTIONS[action_of(step)](step, stage)


def _run(step, stage):
    stage.tell(step.get("about") or f"runs `{_shortened(step['run'])}`")
    show = None if step.get("quiet") else stage.show
    limit = step.get("limit", _RUN_LIMIT)
    try:
        result = stage.machine.run(stage.filled(step["run"]), min(limit, stage.left), show)
    except TimedOut as error:
        raise Failed(f"`{_shortened(step['run'])}` had {error}") from None
    except Rebooted:
        raise Failed(f"the guest rebooted during `{_shortened(step['run'])}`") from None
    problem = _difference(step, result)
    if problem:
        raise Failed(f"`{_shortened(step['run'])}`: {problem}")


def _wait_for(step, stage):
    stage.tell(step.get("about") or f"waits for `{_shortened(step['wait_for'])}`")
    deadline = time.monotonic() + min(step.get("limit", _RUN_LIMIT), stage.left)
    problem = "never ran"
    while time.monotonic() < deadline:
        try:
            result = stage.machine.run(step["wait_for"], max(1, deadline - time.monotonic()))
            problem = _difference(step, result)
        except TimedOut:
            problem = "did not end"
        except Rebooted:
            problem = "the guest rebooted"
        if not problem:
            return
        time.sleep(_WAIT_PAUSE)
    raise Failed(f"`{_shortened(step['wait_for'])}` within its limit: {problem}")


def _difference(step, result):
    """Why the result is not what the step expects, or None."""
    expected = step.get("exit", 0)
    text = result.out + result.err
    if expected != "any" and result.code != expected:
        last = (text.strip().splitlines() or ["no output"])[-1]
        return f"exit code {result.code}, expected {expected}; last line: {last}"
    for part in _listed(step.get("contains")):
        if part not in text:
            return f"lacks {part!r} in: {_shortened(text.strip(), 400)}"
    for part in _listed(step.get("absent")):
        if part in text:
            return f"has {part!r}, which must be absent"
    if "equals" in step and result.out.strip() != str(step["equals"]).strip():
        return f"is {result.out.strip()!r}, expected {step['equals']!r}"
    return None


def _wait_reboot(step, stage):
    stage.tell(step.get("about") or "the machine restarts")
    limit = min(_limit(step, "wait_reboot", _BOOT_LIMIT), stage.left)
    hello = stage.machine.wait_up(limit, not_boot=stage.boot)
    stage.came_up(hello)


def _boot(step, stage):
    stage.tell(step.get("about") or "power on")
    stage.machine.start()
    stage.came_up(stage.machine.wait_up(min(_limit(step, "boot", _BOOT_LIMIT), stage.left)))


def _power_cycle(step, stage):
    stage.tell(step.get("about") or "cuts the power and switches it on again")
    stage.machine.cut_power()
    stage.machine.start()
    limit = min(_limit(step, "power_cycle", _BOOT_LIMIT), stage.left)
    stage.came_up(stage.machine.wait_up(limit))


def _power_cut(step, stage):
    cut = step["power_cut"] or {}
    if "when" in cut:
        deadline = time.monotonic() + min(cut.get("limit", _RUN_LIMIT), stage.left)
        while stage.machine.run(cut["when"], 30).code != 0:
            if time.monotonic() > deadline:
                raise Failed(f"the moment `{_shortened(cut['when'])}` never came")
    elif "after" in cut:
        time.sleep(cut["after"])
    stage.tell(step.get("about") or "cuts the power")
    stage.machine.cut_power()


def _shutdown(step, stage):
    stage.tell(step.get("about") or "shuts down")
    stage.machine.shut_down(_limit(step, "shutdown", 90))


def _tree(step, stage):
    stage.tell(step.get("about") or "records every file of the machine")
    stage.trees[step["tree"]] = trees.record(stage.machine)


def _same_tree(step, stage):
    stage.tell(step.get("about") or "compares every file with the record")
    before = stage.trees.get(step["same_tree"])
    if before is None:
        raise Failed(f"no tree {step['same_tree']} was recorded")
    changes = trees.differences(before, trees.record(stage.machine), _listed(step.get("except")))
    if changes:
        stage.show("".join(f"{line}\n" for line in changes[:40]))
        raise Failed(f"{len(changes)} files differ, first: {changes[0]}")
    stage.tell(f"{len(before)} files, none differs")


def _snapshot(step, stage):
    stage.tell(step.get("about") or f"shuts down and keeps the disk as `{step['snapshot']}`")
    if stage.machine.running:
        stage.machine.shut_down(120)
    stage.save_snapshot(step["snapshot"])


def _keep(step, stage):
    wanted = step["keep"]
    stage.tell(step.get("about") or f"keeps {wanted['path']} as `{wanted['as']}` for other machines")
    size = stage.keep_file(wanted["path"], wanted["as"], min(step.get("limit", _KEEP_LIMIT), stage.left))
    stage.tell(f"{size / (1 << 20):.1f} MiB")


def _catalog(step, stage):
    wanted = step["catalog"]
    stage.catalog.change(**wanted)
    stage.tell(step.get("about") or f"the catalog is now {stage.catalog.story}")


def _offer(step, stage):
    kernels = step["offer"]
    stage.tell(step.get("about") or f"the repository now offers {', '.join(kernels)}")
    stage.machine.server.offered = stage.bench.repository.offer(kernels)


def _put(step, stage):
    stage.tell(step.get("about") or f"writes {step['put']}")
    content = stage.filled(step["text"]) if "text" in step else stage.lab_file(step["lab"])
    stage.machine.put(step["put"], content, step.get("mode", 0o644))


def _registry(step, stage):
    wanted = step["registry"]
    if isinstance(wanted, dict):
        stage.tell(step.get("about") or f"{wanted['tag']} leads to {wanted['image']} in the registry now")
        stage.moved_tags.add(wanted["tag"])
        stage.bench.registry.point(wanted["tag"], wanted["image"])
        return
    stage.tell(step.get("about") or f"the registry is {step['registry']}")
    stage.gate.set(step["registry"])


def _repository(step, stage):
    stage.tell(step.get("about") or f"the repository is {step['repository']}")
    stage.machine.server.down = step["repository"] == "down"


def _console(step, stage):
    stage.tell(step.get("about") or "somebody logs in on the console")
    deadline = time.monotonic() + min(step.get("limit", _RUN_LIMIT), stage.left)
    console = terminal.Terminal(stage.machine.console, stage.place / step["recording"], stage.show)
    try:
        console.login(_SAID_LIMIT)
        for act in step["console"]:
            if "wait" in act:
                console.wait(act["wait"], min(act.get("limit", _SAID_LIMIT), max(1, deadline - time.monotonic())))
            if "hide" in act:
                console.type_hidden(act["hide"])
            elif "type" in act:
                console.type(act["type"])
        console.check_hidden()
    except terminal.Unsaid as error:
        raise Failed(str(error)) from None
    finally:
        console.close()


def _limit(step, action, default):
    value = step[action]
    return value.get("limit", default) if isinstance(value, dict) else step.get("limit", default)


def _listed(value):
    return value if isinstance(value, list) else [] if value is None else [value]


def _shortened(text, limit=90):
    line = " ".join(text.split())
    return line if len(line) <= limit else line[:limit - 1] + "…"


_ACTIONS = {
    "run": _run, "wait_for": _wait_for, "wait_reboot": _wait_reboot, "boot": _boot,
    "power_cycle": _power_cycle, "power_cut": _power_cut, "shutdown": _shutdown,
    "tree": _tree, "same_tree": _same_tree, "snapshot": _snapshot, "offer": _offer,
    "keep": _keep, "catalog": _catalog, "put": _put, "registry": _registry, "repository": _repository,
    "console": _console,
}
