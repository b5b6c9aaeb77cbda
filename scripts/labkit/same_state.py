"""Tasks for ansible-core that find done what the receipt of an installation says was done."""

SELF = "/usr/local/sbin/awg-install"
_LOADER = "/etc/update-extlinux.conf"


def files(receipt):
    """The files that the installation has put in place, each once; some are gone again at its end."""
    found = {}
    for kind, name in _steps(receipt):
        path = {"write": name, "install-self": SELF, "module": f"/lib/modules/{name}/extra/amneziawg.ko"}.get(kind)
        if path:
            found[path] = None
    return list(found)


def copy(name, source, target, mode):
    return {"name": name, "ansible.builtin.copy": {"src": str(source), "dest": str(target), "mode": f"{mode & 0o7777:04o}"}}


def command(name, *argv):
    """Asks for a state and changes nothing."""
    return {"name": name, "ansible.builtin.command": {"argv": [str(word) for word in argv]}, "changed_when": False}


def asks(receipt, services):
    """The tasks for what is no file, on a real host. ansible-core has no module of its own for apk, sysctl, kernel
    modules and Docker: there a command asks. `services`: those that are installed."""
    tasks = []
    for kind, name in _steps(receipt):
        first, _, _ = name.partition(":")
        if kind == "repository":
            tasks.append(_line(name, "/etc/apk/repositories", name))
        elif kind == "packages":
            tasks.append(command(f"packages {name}", "apk", "info", "--installed", *name.split(",")))
        elif kind == "kernel":
            tasks.append(command(f"kernel {name}", "apk", "info", "--installed", f"linux-{name.rpartition('-')[2]}"))
        elif kind == "hold":
            tasks.append(command(f"hold {name}", "grep", f"^{name}=", "/etc/apk/world"))
        elif kind == "default":
            tasks.append(_line(f"default {name}", _LOADER, f"default={name.rpartition('-')[2]}"))
        elif kind == "enable" and first in services:
            tasks.append(_service(f"service {first} at boot", first, enabled=True))
        elif kind == "start" and first in services:
            tasks.append(_service(f"service {first}", first, state="started"))
        elif kind == "load":
            tasks.append(command(f"load {name}", "modprobe", "-a", *name.split(",")))
        elif kind == "firewall":
            tasks.append(command("firewall", "/opt/wg-easy/firewall.sh", "check"))
        elif kind == "pull":
            tasks.append(command(f"image {name}", "docker", "image", "inspect", name))
        elif kind == "compose":
            tasks.append(command("container", "docker", "container", "inspect", "wg-easy"))
    values = _values(receipt)
    return tasks + ([command("sysctl", "sysctl", "-n", *values)] if values else [])


def _steps(receipt):
    for entry in receipt["steps"]:
        kind, _, name = entry["id"].partition(":")
        yield kind, name


def _values(receipt):
    changes = (change for entry in receipt["steps"] for change in entry.get("prior", []))
    return sorted({change["name"] for change in changes if change["change"] == "sysctl"})


def _line(name, path, line):
    return {"name": name, "ansible.builtin.lineinfile": {"path": path, "line": line}}


def _service(name, service, **wanted):
    # Named, so that the host is not asked first which kind of init it has.
    return {"name": name, "ansible.builtin.service": {"name": service, "use": "service", **wanted}}
