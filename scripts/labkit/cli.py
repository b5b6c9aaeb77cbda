"""The commands of `scripts/lab`."""

import argparse
import os
import shutil
import signal
import sys
from pathlib import Path

from . import (box, cuts, debs, disk, downtime, fleet, idle, keeper, material, network, provisioning, runner,
               scenario, setup, throughput)
from .bench import cache_directory
from .channel import Rebooted, Silent, TimedOut

TOP = Path(__file__).resolve().parents[2]


def main(arguments):
    options = _parser().parse_args(arguments)
    # Asked to end, it still switches its machines off.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    cache = cache_directory()
    problem = setup.ensure()
    makes_machines = (_run, _up, _cuts, _fleet, _bench, _downtime, _idle, _throughput, _box, _services)
    if not problem and options.action in makes_machines and os.geteuid() != 0:
        problem = "the lab makes device nodes and file owners; run it as root"
    try:
        if problem and options.action is _run and options.scenarios:
            runner.first_look(TOP, problem)
        if problem:
            raise Silent(problem)
        return options.action(options, cache)
    except (Silent, scenario.Invalid, material.Unavailable, debs.Unavailable) as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _parser():
    parser = argparse.ArgumentParser(
        prog="lab", description="Disposable Alpine machines for awg-install, under QEMU's "
        "software emulation, with their own package repository and container registry.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser("up", help="boot a machine and leave it running")
    up.add_argument("name", nargs="?", default="lab")
    up.add_argument("--kernels", default="6.12.50-0-virt,6.12.50-0-lts.modular", metavar="LIST",
                    help="kernels that its repository offers")
    up.add_argument("--alpine", default="3.22.1", metavar="VERSION")
    up.add_argument("--loader", default=disk.DEFAULT_LOADER, choices=list(disk.LOADERS))
    up.add_argument("--distribution", default="alpine", choices=["alpine", "debian"])
    up.add_argument("--from", dest="snapshot", metavar="SNAPSHOT", help="start from a snapshot")
    up.add_argument("--disk", metavar="FILE", help="boot this disk, as it is, and keep its changes")
    up.add_argument("--memory", type=int, default=1536, metavar="MIB")
    up.add_argument("--processors", type=int, default=1)
    up.add_argument("--binary", metavar="PATH", help="put at /root/awg-install")
    up.set_defaults(action=_up)

    run = commands.add_parser("run", help="run scenarios; pass or fail")
    run.add_argument("scenarios", nargs="*", metavar="SCENARIO")
    run.add_argument("--all", action="store_true", help="every scenario")
    run.add_argument("--ci", action="store_true", help="the scenarios marked for CI")
    run.add_argument("--jobs", type=int, default=1, metavar="N", help="machines at the same time")
    run.add_argument("--keep", action="store_true", help="keep the disk for `up --disk`")
    run.add_argument("--log", metavar="DIR", help="where to write console logs and narratives")
    run.add_argument("--binary", metavar="PATH", help="default: built by scripts/build-static")
    run.set_defaults(action=_run)

    cut = commands.add_parser("cuts", help="cut the power at random moments of an installation")
    cut.add_argument("--count", type=int, default=30, metavar="N")
    cut.add_argument("--only", metavar="N,N", help="these cuts of the series instead of the first ones",
                     type=lambda text: [int(number) for number in text.split(",")])
    cut.add_argument("--seed", type=int, default=1, metavar="N")
    cut.add_argument("--jobs", type=int, default=2, metavar="N", help="machines at the same time")
    cut.add_argument("--binary", metavar="PATH", help="default: built by scripts/build-static")
    cut.set_defaults(action=_cuts)

    many = commands.add_parser("fleet", help="install several machines with the Ansible playbook")
    many.add_argument("--count", type=int, default=3, metavar="N", help="machines at the same time")
    many.add_argument("--log", metavar="DIR", help="where to write console logs, ansible's output and the traffic")
    many.add_argument("--binary", metavar="PATH", help="default: built by scripts/build-static")
    many.set_defaults(action=_fleet)

    compare = _measurement(commands, "bench", _bench, 1, "time a whole installation beside that of a plain script")
    compare.add_argument("--processors", type=int, default=1, metavar="N", help="of each machine")

    _measurement(commands, "idle", _idle, 3, "measure a run with nothing to do beside an Ansible playbook")

    speed = _measurement(commands, "throughput", _throughput, 3, "measure the tunnel in kernel mode beside userspace mode")
    speed.add_argument("--size", type=int, default=16, metavar="MIB", help="through the tunnel, each way")
    speed.add_argument("--processors", type=int, default=1, metavar="N", help="of the machine")

    _measurement(commands, "downtime", _downtime, 1,
                 "measure how long a client's tunnel is dead while its server is changed")

    made = commands.add_parser("box", help="make a box for Vagrant with libvirt")
    made.add_argument("--out", metavar="FILE", help="default: where `services` looks for it")
    made.set_defaults(action=_box)

    serve = commands.add_parser("services", help="serve Vagrant's machines on a network of libvirt, while a command runs")
    serve.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND",
                       help="AWG_BOX and AWG_MODULE are set for it; none: until Ctrl-C")
    serve.set_defaults(action=_services)

    shell = commands.add_parser("shell", help="console of a running machine, or one command in it")
    shell.add_argument("name")
    shell.add_argument("command", nargs=argparse.REMAINDER)
    shell.set_defaults(action=_shell)

    put = commands.add_parser("put", help="copy a file into a running machine")
    put.add_argument("name")
    put.add_argument("source")
    put.add_argument("target")
    put.set_defaults(action=_put)

    cycle = commands.add_parser("cycle", help="cut a running machine's power and boot it again")
    cycle.add_argument("name")
    cycle.set_defaults(action=lambda o, c: keeper.request(c, o.name, cycle=True))

    wait = commands.add_parser("wait", help="wait until a running machine has come up (again)")
    wait.add_argument("name")
    wait.add_argument("--reboot", action="store_true", help="a boot other than the present one")
    wait.add_argument("--limit", type=int, default=600, metavar="SECONDS")
    wait.set_defaults(action=lambda o, c: keeper.request(
        c, o.name, wait="reboot" if o.reboot else "up", limit=o.limit))

    down = commands.add_parser("down", help="switch a running machine off")
    down.add_argument("name")
    down.set_defaults(action=_down)

    commands.add_parser("list", help="scenarios, snapshots, kept files, running machines") \
        .set_defaults(action=_list)
    clean = commands.add_parser("clean", help="remove runs, snapshots and kept files; stop machines")
    clean.add_argument("--all", action="store_true", help="the whole cache, downloads included")
    clean.set_defaults(action=_clean)
    commands.add_parser("setup", help="install what the lab needs") \
        .set_defaults(action=lambda o, c: print(f"installed: {setup.names()}"))
    hidden = commands.add_parser("keep")
    hidden.add_argument("name")
    hidden.set_defaults(action=lambda o, c: keeper.keep(c, o.name))
    return parser


def _measurement(commands, name, action, rounds, about):
    parser = commands.add_parser(name, help=about)
    parser.add_argument("--rounds", type=int, default=rounds, metavar="N")
    parser.add_argument("--log", metavar="DIR", help="where to write console logs and what peers say")
    parser.add_argument("--binary", metavar="PATH", help="default: built by scripts/build-static")
    parser.set_defaults(action=action)
    return parser


def _up(options, cache):
    files = [(str(Path(options.binary).resolve()), "/root/awg-install", 0o755)] \
        if options.binary else []
    settings = {
        "kernels": options.kernels.split(","), "alpine": options.alpine, "files": files,
        "memory": options.memory, "processors": options.processors, "disk": options.disk,
        "loader": options.loader, "distribution": options.distribution,
    }
    if options.snapshot:
        settings["from"] = str(cache / "snapshots" / f"{options.snapshot}.qcow2")
        if not Path(settings["from"]).is_file():
            raise Silent(f"no snapshot {options.snapshot}; see `lab list`")
    print(f"boots {options.name}", file=sys.stderr)
    keeper.start(cache, options.name, settings)
    print(f"{options.name} is up: `lab shell {options.name}`, "
          f"`lab shell {options.name} COMMAND`, `lab down {options.name}`")
    return 0


def _run(options, cache):
    chosen = scenario.load_all(TOP / "tests" / "lab")
    if not options.all:
        if options.ci:
            names = [name for name, entry in chosen.items() if entry.ci]
        else:
            names = options.scenarios
        if not names:
            raise Silent("name scenarios, or give --ci or --all; see `lab list`")
        unknown = [name for name in names if name not in chosen]
        if unknown:
            raise Silent(f"no scenario {', '.join(unknown)}; there are {', '.join(chosen)}")
    else:
        names = list(chosen)
    return runner.run(chosen, names, cache, TOP, runner.Options(
        keep=options.keep, jobs=options.jobs, binary=options.binary, strict=options.ci or options.all,
        log=Path(options.log).resolve() if options.log else cache / "runs"))


def _cuts(options, cache):
    bench = runner.make_bench(cache)
    try:
        binary = Path(options.binary).resolve() if options.binary else runner.build(TOP)
        numbers = options.only or list(range(1, options.count + 1))
        return cuts.run(bench, binary, cache, numbers, options.seed, options.jobs)
    finally:
        bench.close()


def _fleet(options, cache):
    if options.count < 2:
        raise Silent("a fleet has at least two machines")
    bench = runner.make_bench(cache)
    try:
        binary = Path(options.binary).resolve() if options.binary else runner.build(TOP)
        place = Path(options.log).resolve() if options.log else cache / "runs" / "fleet"
        return fleet.run(bench, binary, TOP, place, options.count)
    finally:
        bench.close()


def _bench(options, cache):
    return _measured(options, cache, "bench", lambda bench, binary, place: provisioning.run(
        bench, binary, TOP, place, options.rounds, options.processors))


def _idle(options, cache):
    return _measured(options, cache, "idle", lambda bench, binary, place: idle.run(bench, binary, TOP, place, options.rounds))


def _throughput(options, cache):
    return _measured(options, cache, "throughput", lambda bench, binary, place: throughput.run(
        bench, binary, TOP, place, options.rounds, options.size << 20, options.processors))


def _downtime(options, cache):
    return _measured(options, cache, "downtime", lambda bench, binary, place: downtime.run(
        bench, binary, TOP, place, options.rounds))


def _measured(options, cache, name, measure):
    bench = runner.make_bench(cache)
    try:
        binary = Path(options.binary).resolve() if options.binary else runner.build(TOP)
        place = Path(options.log).resolve() if options.log else cache / "runs" / name
        return measure(bench, binary, place)
    except (TimedOut, Rebooted) as error:
        raise Silent(str(error) or "the guest rebooted unexpectedly") from None
    finally:
        bench.close()


def _box(options, cache):
    out = Path(options.out).resolve() if options.out else _box_place(cache)
    bench = runner.make_bench(cache)
    try:
        box.make(bench, out)
    finally:
        bench.close()
    print(out)
    return 0


def _services(options, cache):
    place = _box_place(cache)
    bench = runner.make_bench(cache)
    try:
        if not place.is_file():
            box.make(bench, place)
        services = network.Services(bench)
        try:
            return services.run(options.command or ["sleep", "infinity"], place)
        finally:
            services.close()
            print(f"lab: {services.story}", file=sys.stderr)
    finally:
        bench.close()


def _box_place(cache):
    return cache / "box" / "awg-lab.box"


def _shell(options, cache):
    if not options.command:
        keeper.console(cache, options.name)
        return 0
    return keeper.request(cache, options.name, run=" ".join(options.command))


def _put(options, cache):
    source = Path(options.source).resolve()
    mode = source.stat().st_mode & 0o777
    return keeper.request(cache, options.name, put=str(source), path=options.target, mode=mode)


def _down(options, cache):
    keeper.stop(cache, options.name)
    return 0


def _list(options, cache):
    print("scenarios:")
    for name, entry in scenario.load_all(TOP / "tests" / "lab").items():
        print(f"  {name:16} {'ci  ' if entry.ci else '    '}{entry.about}")
    snapshots = sorted((cache / "snapshots").glob("*.qcow2"))
    print("snapshots:", ", ".join(path.stem for path in snapshots) or "none")
    kept = sorted(path.stem for path in (cache / "kept").glob("*.json"))
    print("kept files:", ", ".join(kept) or "none")
    up = [name for name in keeper.names(cache) if keeper.pid_of(cache, name)]
    print("running machines:", ", ".join(up) or "none")
    return 0


def _clean(options, cache):
    for name in keeper.names(cache):
        keeper.stop(cache, name)
    places = [cache] if options.all else [cache / part for part in ("up", "runs", "snapshots", "kept")]
    for place in places:
        if place.is_dir():
            shutil.rmtree(place)
            print(f"removed {place}")
    return 0
