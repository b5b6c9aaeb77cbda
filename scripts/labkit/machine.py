"""One QEMU machine and the channel on which its guest obeys."""

import base64
import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import transfer
from .channel import Channel, Rebooted, Silent

REPOSITORY_ADDRESS = "10.0.2.101"
REGISTRY_ADDRESS = "10.0.2.100"
CATALOG_ADDRESS = "10.0.2.102"
_SMALL = 2000
_PRCTL = ctypes.CDLL(None).prctl
_PR_SET_PDEATHSIG = 1


@dataclass
class Hardware:
    memory: int = 1536
    processors: int = 1
    cache: str = "writeback"
    network: bool = True
    # A kernel and its command line, given directly (see debian.py); else the disk boots itself.
    boot: object = None
    # Further disks: one to read from, one for files that go in and out (see transfer.py).
    media: Path | None = None
    transfer: Path | None = None
    # Ports of the guest that can be reached from outside: guest's port -> port on loopback.
    inbound: dict = field(default_factory=dict)
    # A second network device, wired to that of another machine: UDP ports on loopback, own and the other's.
    # User networking that reaches nothing else carries no UDP in either direction.
    wire: tuple | None = None


@dataclass
class Result:
    code: int
    out: str
    err: str


class Machine:
    """`disk` is what it boots; `ports` maps forwarded guest addresses, `"ip:port"`,
    to ports on loopback. Nothing else of the network can be reached."""

    def __init__(self, directory, disk, hardware=None, ports=None, server=None):
        self.dir = Path(directory)
        self.disk = Path(disk)
        self.hardware = hardware or Hardware()
        self.ports = ports or {}
        self.server = server
        self.process = None
        self.channel = None
        self.dir.mkdir(parents=True, exist_ok=True)

    @property
    def console_log(self):
        return self.dir / "console.log"

    @property
    def console(self):
        """The guest's serial line, as a socket."""
        return self.dir / "console.sock"

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def start(self, kernel=None, append=""):
        """Switches the power on; `kernel` skips the boot loader."""
        for name in ("agent.sock", "console.sock"):
            (self.dir / name).unlink(missing_ok=True)
        command = self._command()
        if self.hardware.boot and not kernel:
            kernel, append = self.hardware.boot.kernel, self.hardware.boot.append
        if kernel:
            command += ["-kernel", str(kernel), "-append", append]
        with open(self.dir / "qemu.log", "ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=_end_with_parent,
            )
        (self.dir / "qemu.pid").write_text(f"{self.process.pid}\n")
        self.channel = Channel(self._connect(self.dir / "agent.sock"))

    def wait_up(self, limit, not_boot=None):
        """Waits for the default runlevel of a boot other than `not_boot`."""
        deadline = time.monotonic() + limit
        while time.monotonic() < deadline:
            if not self.running:
                raise Silent(f"the machine went off; see {self.console_log}")
            hello = self.channel.hello(min(10, deadline - time.monotonic()))
            if hello and hello.boot != not_boot and hello.up:
                return hello
        raise Silent(f"the guest did not come up within {limit} s; see {self.console_log}")

    def run(self, script, limit=60, on_output=None):
        """Runs a shell script as root in the guest; output arrives as it is written."""
        code, out, err = self.channel.run(script, limit, on_output)
        return Result(code, out.decode(errors="replace"), err.decode(errors="replace"))

    def put(self, path, content, mode=0o644):
        """Writes a file in the guest; large ones travel over the network or a disk."""
        content = content.encode() if isinstance(content, str) else content
        target = _quoted(path)
        prepare = f"mkdir -p {_quoted(os.path.dirname(path))} && "
        reaches = self.server and self.hardware.network
        if len(content) > _SMALL and self.hardware.transfer and not reaches:
            transfer.put(self, self.hardware.transfer, content, "/tmp/.lab-transfer")
            fetch = f"mv /tmp/.lab-transfer {target}.new"
        elif len(content) <= _SMALL or not reaches:
            fetch = f"echo {base64.b64encode(content).decode()} | base64 -d > {target}.new"
        else:
            name = f"put-{time.monotonic_ns()}"
            (self.dir / name).write_bytes(content)
            self.server.share(name, self.dir / name)
            fetch = f"wget -q -O {target}.new http://{REPOSITORY_ADDRESS}/lab/{name}"
        script = f"{prepare}{fetch} && chmod {mode:o} {target}.new && mv {target}.new {target}"
        result = self.run(script, limit=120)
        if result.code != 0:
            raise Silent(f"cannot write {path} in the guest: {result.err.strip()}")

    def get(self, path):
        code, out, err = self.channel.run(f"cat {_quoted(path)}", 120)
        if code != 0:
            raise FileNotFoundError(err.decode(errors="replace").strip())
        return out

    def keep(self, path, dest, limit=300):
        """Copies a file of any size out of the guest."""
        transfer.get(self, self.hardware.transfer, _quoted(path), dest, limit)

    def cut_power(self):
        """What a power cut is: the machine is gone at once, caches and all."""
        if self.running:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        self._close()

    def shut_down(self, limit=60):
        try:
            self.run("poweroff", 10)
        except (Rebooted, Silent):
            pass
        try:
            self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.cut_power()
            raise Silent(f"the guest did not switch itself off within {limit} s") from None
        self._close()

    def _close(self):
        if self.channel:
            self.channel.close()
            self.channel = None

    def _connect(self, path):
        for _ in range(200):
            link = socket.socket(socket.AF_UNIX)
            try:
                link.connect(str(path))
                return link
            except OSError:
                link.close()
            if not self.running:
                raise Silent(f"QEMU did not start: {(self.dir / 'qemu.log').read_text().strip()}")
            time.sleep(0.05)
        raise Silent("QEMU gave no access to the guest's serial port")

    def _command(self):
        hardware = self.hardware
        connector = Path(__file__).with_name("connect.py")
        net = "user,id=net,restrict=on"
        for address, port in sorted(self.ports.items()):
            net += f",guestfwd=tcp:{address}-cmd:{sys.executable} -S -E {connector} {port}"
        for inner, port in sorted(hardware.inbound.items()):
            net += f",hostfwd=tcp:127.0.0.1:{port}-:{inner}"
        return [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "qemu64",
            "-smp", str(hardware.processors), "-m", str(hardware.memory),
            "-display", "none", "-vga", "none", "-no-user-config", "-nodefaults",
            "-chardev", f"socket,id=console,path={self.dir}/console.sock,server=on,wait=off,"
                        f"logfile={self.console_log},logappend=on",
            "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,path={self.dir}/agent.sock,server=on,wait=off",
            "-serial", "chardev:agent",
            # Named as a device, and first: it is vda, and the one that is booted, unless a kernel is
            # given (which takes index 0).
            "-drive", f"id=root,file={self.disk},if=none,format=qcow2,cache={hardware.cache},discard=unmap",
            "-device", "virtio-blk-pci,drive=root,bootindex=1",
            *self._further_disks(),
            *(["-netdev", net, "-device", "virtio-net-pci,netdev=net,romfile="] if hardware.network else []),
            *_wired(hardware.wire),
            "-device", "virtio-rng-pci",
            "-rtc", "base=utc",
        ]

    def _further_disks(self):
        options = []
        for name, path, more in (("media", self.hardware.media, ",readonly=on"),
                                 ("transfer", self.hardware.transfer, "")):
            if path:
                options += ["-drive", f"id={name},file={path},if=none,format=raw,cache=writeback{more}",
                            "-device", f"virtio-blk-pci,drive={name},serial=lab-{name}"]
        return options


def free_port():
    """A port on loopback that nobody has, for `Hardware.inbound`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wired(wire):
    """Either end may go and come back: nothing is connected."""
    if wire is None:
        return []
    own, other = wire
    address = f"52:54:00:01:{own >> 8:02x}:{own & 255:02x}"
    return ["-netdev", f"socket,id=wire,udp=127.0.0.1:{other},localaddr=127.0.0.1:{own}",
            "-device", f"virtio-net-pci,netdev=wire,mac={address},romfile="]


def _end_with_parent():
    """A machine never outlives the lab, even where that is killed."""
    _PRCTL(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"

