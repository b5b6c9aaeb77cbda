"""Installs AmneziaWG on a host through awg-install, from its plan to its proven end.

An action plugin and no module: it works through the connection alone, with a shell and sha256sum, so
that the host needs no Python. What has changed, and whether, is awg-install's own word.
"""

import hashlib
import json
import shlex
import time

from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

_INSTALLED = "/usr/local/sbin/awg-install"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_ARGUMENTS = {
    "binary": {"type": "path", "required": True},
    "config": {"type": "dict", "required": True},
    "password": {"type": "str", "no_log": True},
    "accept_degraded": {"type": "bool", "default": False},
    "scratch": {"type": "path", "default": "/tmp"},
    "wait": {"type": "int", "default": 1800},
}
# Exit codes of awg-install; see its README.
_DONE, _REBOOT_NEEDED, _DEGRADED, _LOCKED, _PENDING = 0, 7, 8, 9, 10
_NOTHING_CHANGED = (2, 3, 4, 5, _LOCKED)
_FAILED = {"ok": False, "exit_code": None, "outcome": None, "cause": None, "remedy": None}
_PAUSE = 5
_ATTEMPTS = 3


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=_ARGUMENTS)
        self._args, self._begun = args, False
        self._deadline = time.monotonic() + args["wait"]
        try:
            _refuse_passwords(args["config"])
            self._binary = _read(args["binary"])
            said = self._plan() if self._task.check_mode else self._install()
        except AnsibleActionFail as error:
            # The result is told by the role, since this task's own words are hidden with its arguments.
            said = {**_FAILED, "changed": self._begun, "summary": str(error)}
        return {**result, **said}

    def _plan(self):
        said = self._awg("plan --detailed-exitcode")
        end = said.end
        pending = said.code == _PENDING
        report = said.report(ok=said.code in (_DONE, _PENDING), changed=pending)
        steps = [step.get("do") for step in end.get("steps", ())]
        if report["ok"]:
            mode = f"{end.get('rung')} mode" + (f" on {end['release']}" if end.get("release") else "")
            report["summary"] = f"{len(steps)} steps to {mode}" if pending else f"nothing to do: {mode}"
        return {**report, "steps": steps, "diffs": end.get("diffs", []), "notes": end.get("notes", [])}

    def _install(self):
        lost = False
        for _ in range(_ATTEMPTS):
            boot = self._boot()
            self._begun = True
            try:
                said = self._awg("install --unattended")
            except AnsibleConnectionFailure:
                # A lost connection stops nothing there: its end counts, and the next attempt tells.
                lost = True
                self._settled()
                continue
            if said.code == _LOCKED:
                # Another run, or the one that goes on after a restart.
                self._settled()
                continue
            if said.end.get("outcome") == "reboot-scheduled":
                self._restarted(boot)
                said = self._settled()
            ok = said.code in (_DONE, _REBOOT_NEEDED) or said.code == _DEGRADED and self._args["accept_degraded"]
            changed = said.code not in _NOTHING_CHANGED and said.end.get("outcome") != "unchanged"
            return {**said.report(ok=ok, changed=changed or lost), "reboot_needed": said.code == _REBOOT_NEEDED}
        raise AnsibleActionFail(f"no end of the installation after {_ATTEMPTS} attempts; see `awg-install status`")

    def _awg(self, command):
        """Runs it with the role's configuration. Nothing is left behind but what the program itself keeps."""
        digest = hashlib.sha256(self._binary).hexdigest()
        made = self._shell(f"umask 077; mktemp -d {shlex.quote(self._args['scratch'])}/awg-install.XXXXXX && "
                           f"{{ sha256sum {_INSTALLED} 2> /dev/null || :; }}")
        lines = made["stdout"].split()
        if made["rc"] != 0 or not lines:
            raise AnsibleActionFail(f"no directory for the configuration: {made['stderr'].strip()}")
        place, present = lines[0], lines[1:2] == [digest]
        try:
            # JSON is YAML.
            self._write(f"{place}/config.yaml", json.dumps(self._args["config"]).encode())
            program = _INSTALLED
            if not present:
                program = f"{place}/awg-install"
                self._write(program, self._binary, digest)
            secret = self._args["password"]
            words = [program, *command.split(), "--output", "json", "--config", f"{place}/config.yaml"]
            if secret:
                words += ["--server-password-file", "-"]
            # The host may restart right after it: the directory goes in the same breath, and also
            # where the connection is lost.
            script = f"trap '' HUP; {self._compute_environment_string()} {shlex.join(words)}; code=$?; " \
                     f"rm -rf {shlex.quote(place)}; exit $code"
            return _Said(self._shell(script, (secret or "").encode()))
        except AnsibleActionFail:
            self._shell(f"rm -rf {shlex.quote(place)}")
            raise

    def _write(self, path, content, digest=None):
        path = shlex.quote(path)
        check = f" && chmod 0700 {path} && echo {digest}'  '{path} | sha256sum -c" if digest else ""
        done = self._shell(f"umask 077; cat > {path}{check}", content)
        if done["rc"] != 0:
            raise AnsibleActionFail(f"cannot write {path}: {done['stderr'].strip() or done['stdout'].strip()}")

    def _settled(self):
        """What `status` says once nothing is pending any more, whatever restarts come between."""
        while True:
            try:
                return _Said(self._shell(f"{_INSTALLED} status --wait --output json"))
            except AnsibleConnectionFailure:
                self._reconnect()

    def _restarted(self, before):
        while True:
            self._reconnect()
            try:
                if self._boot() != before:
                    return
            except AnsibleConnectionFailure:
                pass

    def _reconnect(self):
        if time.monotonic() > self._deadline:
            raise AnsibleActionFail(f"the host was not back within {self._args['wait']} s; see its console")
        time.sleep(_PAUSE)
        # The connection that ssh keeps open would lead nowhere.
        self._connection.reset()

    def _boot(self):
        return self._shell(f"cat {_BOOT_ID}")["stdout"].strip()

    def _shell(self, script, content=b""):
        return self._low_level_execute_command(script, in_data=content or None)


class _Said:
    """What awg-install said in JSON, one object a line."""

    def __init__(self, done):
        self.code, self._text = done["rc"], f"{done['stdout']}\n{done['stderr']}"
        self._lines = []
        for line in done["stdout"].splitlines():
            try:
                self._lines.append(json.loads(line))
            except ValueError:
                continue

    @property
    def end(self):
        return self._lines[-1] if self._lines and "exit_code" in self._lines[-1] else {}

    def report(self, ok, changed):
        report = {**_FAILED, "ok": ok and bool(self.end), "changed": changed, "exit_code": self.code,
                  "outcome": self.end.get("outcome"), "summary": self.end.get("summary")}
        if not self.end:
            report["summary"] = f"no result in: {self._text.strip()[-500:]}"
        if not report["ok"]:
            error = next((line for line in reversed(self._lines) if line.get("type") == "error"), {})
            report.update(cause=error.get("cause"), remedy=error.get("remedy"))
        return report


def _read(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise AnsibleActionFail(f"awg_install_binary: {path}: {error.strerror}") from None


def _refuse_passwords(config):
    """A password in the configuration would be shown, and lie on the host longer than it must."""
    registry = (config.get("container") or {}).get("registry") or {}
    for key, section in (("server.password", config.get("server") or {}), ("container.registry.password", registry)):
        if "password" in section:
            raise AnsibleActionFail(f"{key} stands in awg_install_config, where it would be shown; use "
                                    "awg_install_password, or a password_file on the host")
