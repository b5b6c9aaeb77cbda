# Restarts the machine where install.sh has asked for it, and waits until it is back.
#
# Vagrant's own `reboot: true` restarts always, and tells one boot from the next by options of `ps` that BusyBox's
# has not.

require "timeout"

module AwgRestart
  MARK = "/run/awg-restart"

  class Plugin < Vagrant.plugin("2")
    name "awg-install: restart"
    provisioner("awg_restart") { Provisioner }
  end

  class Provisioner < Vagrant.plugin("2", :provisioner)
    def provision
      return unless @machine.communicate.test("test -e #{MARK}", sudo: true)

      before = boot
      raise Vagrant::Errors::MachineGuestNotReady unless before

      @machine.ui.detail("Restarts")
      # Later, so that this command still ends in order.
      @machine.communicate.sudo("rm #{MARK}; nohup sh -c 'sleep 2; reboot' > /dev/null 2>&1 &")
      Timeout.timeout(@machine.config.vm.boot_timeout, Vagrant::Errors::VMBootTimeout) do
        sleep 3 while [nil, before].include?(boot)
      end
    end

    private

    # The id of the boot that answers, on a connection of its own; an old one would wait for the boot before.
    def boot
      id = nil
      Timeout.timeout(20) do
        @machine.communicate.reset!
        @machine.communicate.execute("cat /proc/sys/kernel/random/boot_id") { |_, text| id = text.strip }
      end
      id
    rescue StandardError
      nil
    end
  end
end
