"""A run that changes nothing, against an Ansible playbook for the same state with the modules of ansible-core.

Both look at the same prepared host, whose commands are played by the same stand-ins. The playbook is made from the
receipt of the installation: a `copy` for each file that was written, and for each package, service and container the
`command` that asks for its state (ansible-core has no module of its own for apk, OpenRC's runlevels and Docker). It
runs on the host itself, without ssh and without gathering facts, which is the least that Ansible can do.
"""

import json
import os
import sys
from pathlib import Path

from labkit import ansible, same_state

from . import Problem, Row, measure, prepared, seconds

_GOAL = 100.0
_AGAIN = ("--unattended", "--config", "/root/awg.yaml")


def rows(bench):
    with bench.scratch() as place:
        host = prepared.Prepared(place / "host", bench.binary)
        host.install()
        host.serve_engine()
        host.run(*_AGAIN)
        tasks = playbook(json.loads((host.root / "var/lib/awg-install/receipt.json").read_text()), host.root, place / "files")
        file = place / "same.json"
        # JSON is YAML.
        file.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False,
                                     "vars": {"ansible_python_interpreter": sys.executable},
                                     "environment": {"FAKE_ROOT": str(host.root)}, "tasks": tasks}]))
        programs = ansible.programs(bench.cache)
        environment = os.environ | {"ANSIBLE_HOME": str(place / "ansible"), "ANSIBLE_NOCOLOR": "1"}

        def peer():
            said = measure.run(programs / "ansible-playbook", "-i", "localhost,", file, env=environment)
            recap = ansible.Said(0, said).recap["localhost"]
            if (recap.ok, recap.changed) != (len(tasks), 0):
                raise Problem(f"the playbook was to find {len(tasks)} tasks done:\n{said}")

        before = _state(host)
        ours, theirs = measure.interleaved(bench.times, lambda: host.run(*_AGAIN), peer)
        if _state(host) != before:
            raise Problem("a run that was to change nothing has changed something")
    return [Row("run without changes", seconds(ours), f"ansible-playbook, {len(tasks)} tasks {seconds(theirs)}",
                theirs / ours, _GOAL)]


def playbook(receipt, root, files):
    """Tasks that find done what the receipt says was done; the files' contents are kept in `files`."""
    files.mkdir()
    present = (name for name in same_state.files(receipt) if (root / name.lstrip("/")).is_file())
    tasks = [_copy(root, name, files) for name in present]
    for entry in receipt["steps"]:
        kind, _, name = entry["id"].partition(":")
        if kind == "packages":
            tasks.append(_ask(root, f"packages {name}", "apk", "search", "--exact", "--all", *name.split(",")))
        elif kind == "start":
            tasks.append(_ask(root, f"service {name}", "engine-get", "/version"))
        elif kind == "pull":
            tasks.append(_ask(root, f"image {name}", "engine-get", f"/images/{name}/json"))
        elif kind == "compose":
            tasks.append(_ask(root, "container", "engine-get", "/containers/wg-easy/json"))
    return tasks


def _copy(root, name, files):
    place, kept = root / name.lstrip("/"), files / name.strip("/").replace("/", "-")
    kept.write_bytes(place.read_bytes())
    return same_state.copy(name, kept, place, place.stat().st_mode)


def _ask(root, name, program, *words):
    return same_state.command(name, Path(root, ".fakeroot/bin", program), *words)


def _state(host):
    receipt = json.loads((host.root / "var/lib/awg-install/receipt.json").read_text())
    return [(step["id"], step["state"], step["at"]) for step in receipt["steps"]]
