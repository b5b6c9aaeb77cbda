//! Machines as sysfs shows them, a kernel's module indexes, and mkinitfs's files, below a prepared root.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;

use awg_install::host::Host;

use super::{LTS, Root, VIRT, repository};

/// A root that holds what `/` hangs on, and two kernels: what runs, and what is to be started.
pub struct Machine {
    pub root: Root,
}

impl Machine {
    /// `mount` is major, minor, type and source of `/`. The new kernel is like Alpine's lts.
    pub fn new(mount: &str) -> Machine {
        let machine = Machine { root: Root::empty() };
        let [numbers, fs, source] = mount.split(' ').collect::<Vec<_>>()[..] else { panic!("{mount}") };
        let root = &machine.root;
        root.write(
            "/proc/self/mountinfo",
            &format!(
                "1 1 0:2 / / rw - rootfs rootfs rw\n26 1 {numbers} / / rw,relatime shared:1 - {fs} {source} rw\n\
                 27 26 0:22 / /sys rw,nosuid shared:6 - sysfs sysfs rw\n"
            ),
        );
        root.write("/proc/sys/kernel/osrelease", &format!("{VIRT}\n"));
        machine.kernel(LTS, LTS_DEP, LTS_BUILTIN, LTS_ALIAS);
        machine.kernel(VIRT, VIRT_DEP, VIRT_BUILTIN, "");
        root.write(&format!("/lib/modules/{LTS}/modules.builtin.modinfo"), LTS_MODINFO);
        root.write(&format!("/lib/modules/{LTS}/modules.softdep"), LTS_SOFTDEP);
        for (name, text) in FEATURES {
            root.write(&format!("/etc/mkinitfs/features.d/{name}.modules"), text);
        }
        root.write("/boot/.keep", "");
        for file in ["bin/mkinitfs", "lib.sh"] {
            let to = root.path(&format!("/.fakeroot/{file}"));
            fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
            fs::copy(repository().join("scripts/fakeroot").join(file), to).expect("the stand-in");
        }
        machine.features("base ext4 kms scsi virtio")
    }

    /// Indexes, and a file for each module.
    pub fn kernel(&self, release: &str, dep: &str, builtin: &str, alias: &str) {
        let base = format!("/lib/modules/{release}");
        self.root.write(&format!("{base}/modules.dep"), dep);
        self.root.write(&format!("{base}/modules.builtin"), builtin);
        self.root.write(&format!("{base}/modules.alias"), alias);
        for path in dep.lines().filter_map(|l| l.split(':').next()) {
            self.root.write(&format!("{base}/{path}"), "");
        }
    }

    /// A device below `/sys/devices`: its modalias, the driver that is bound to it, that driver's module.
    pub fn device(self, path: &str, modalias: &str, driver: &str, module: &str) -> Machine {
        let dir = format!("/sys/devices/{path}");
        self.root.write(&format!("{dir}/uevent"), "");
        if !modalias.is_empty() {
            self.root.write(&format!("{dir}/modalias"), &format!("{modalias}\n"));
        }
        if !driver.is_empty() {
            let place = format!("/sys/bus/any/drivers/{driver}");
            self.root.write(&format!("{place}/uevent"), "");
            self.link(&format!("{dir}/driver"), &place);
            if !module.is_empty() {
                self.root.write(&format!("/sys/module/{module}/uevent"), "");
                self.link(&format!("{place}/module"), &format!("/sys/module/{module}"));
            }
        }
        self
    }

    /// A block device: its directory below `/sys/devices`, its numbers, and what it is made of.
    pub fn block(self, path: &str, numbers: &str, slaves: &[&str]) -> Machine {
        let dir = format!("/sys/devices/{path}");
        let name = path.rsplit('/').next().expect("a name");
        self.root.write(&format!("{dir}/dev"), &format!("{numbers}\n"));
        self.link(&format!("/sys/dev/block/{numbers}"), &dir);
        self.link(&format!("/sys/class/block/{name}"), &dir);
        for slave in slaves {
            let link = format!("/sys/class/block/{slave}");
            let place = fs::canonicalize(self.root.path(&link)).expect("a slave that is there");
            let below = place.strip_prefix(fs::canonicalize(self.root.dir()).expect("a root")).expect("below the root");
            self.link(&format!("{dir}/slaves/{slave}"), &format!("/{}", below.display()));
        }
        self
    }

    pub fn text(self, path: &str, text: &str) -> Machine {
        self.root.write(path, text);
        self
    }

    pub fn features(self, features: &str) -> Machine {
        self.text("/etc/mkinitfs/mkinitfs.conf", &format!("features=\"{features}\"\n"))
    }

    /// A relative link, as sysfs has them.
    pub fn link(&self, link: &str, to: &str) {
        let place = self.root.path(link);
        fs::create_dir_all(place.parent().expect("a directory")).expect("a directory");
        let up = "../".repeat(link.trim_start_matches('/').matches('/').count());
        let _ = fs::remove_file(&place);
        symlink(format!("{up}{}", to.trim_start_matches('/')), place).expect("a link");
    }

    pub fn host(&self) -> Host {
        let env = BTreeMap::from([("PATH".to_string(), "/usr/bin:/bin".to_string())]);
        Host::new(Some(self.root.dir()), env).expect("a prepared root")
    }

    /// Runs the stand-in, as the package's trigger would.
    pub fn mkinitfs(&self) {
        let status = std::process::Command::new(self.root.path("/.fakeroot/bin/mkinitfs"))
            .args(["-o", "/boot/initramfs-lts", LTS])
            .env("FAKE_ROOT", self.root.dir())
            .status();
        assert!(status.expect("a shell").success());
    }

    pub fn conf(&self) -> String {
        self.root.read("/etc/mkinitfs/mkinitfs.conf")
    }
}

/// What matters here of Alpine's linux-lts 6.12: everything a disk may hang on is a module.
pub const LTS_DEP: &str = "\
kernel/arch/x86/crypto/crc32c-intel.ko.gz:
kernel/crypto/crc32c_generic.ko.gz:
kernel/crypto/blake2b_generic.ko.gz:
kernel/crypto/xor.ko.gz:
kernel/lib/raid6/raid6_pq.ko.gz:
kernel/lib/libcrc32c.ko.gz:
kernel/fs/mbcache.ko.gz:
kernel/fs/jbd2/jbd2.ko.gz:
kernel/fs/ext4/ext4.ko.gz: kernel/fs/jbd2/jbd2.ko.gz kernel/fs/mbcache.ko.gz
kernel/fs/xfs/xfs.ko.gz: kernel/lib/libcrc32c.ko.gz
kernel/fs/btrfs/btrfs.ko.gz: kernel/crypto/blake2b_generic.ko.gz kernel/crypto/xor.ko.gz kernel/lib/raid6/raid6_pq.ko.gz kernel/lib/libcrc32c.ko.gz
kernel/drivers/virtio/virtio.ko.gz: kernel/drivers/virtio/virtio_ring.ko.gz
kernel/drivers/virtio/virtio_ring.ko.gz:
kernel/drivers/virtio/virtio_pci_modern_dev.ko.gz:
kernel/drivers/virtio/virtio_pci_legacy_dev.ko.gz:
kernel/drivers/virtio/virtio_pci.ko.gz: kernel/drivers/virtio/virtio_pci_legacy_dev.ko.gz kernel/drivers/virtio/virtio_pci_modern_dev.ko.gz kernel/drivers/virtio/virtio.ko.gz kernel/drivers/virtio/virtio_ring.ko.gz
kernel/drivers/block/virtio_blk.ko.gz: kernel/drivers/virtio/virtio.ko.gz kernel/drivers/virtio/virtio_ring.ko.gz
kernel/drivers/block/xen-blkfront.ko.gz:
kernel/drivers/scsi/scsi_common.ko.gz:
kernel/drivers/scsi/scsi_mod.ko.gz: kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/scsi/sd_mod.ko.gz: kernel/drivers/scsi/scsi_mod.ko.gz kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/scsi/virtio_scsi.ko.gz: kernel/drivers/virtio/virtio.ko.gz kernel/drivers/virtio/virtio_ring.ko.gz kernel/drivers/scsi/scsi_mod.ko.gz kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/scsi/scsi_transport_fc.ko.gz: kernel/drivers/scsi/scsi_mod.ko.gz kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/scsi/hv_storvsc.ko.gz: kernel/drivers/scsi/scsi_transport_fc.ko.gz kernel/drivers/hv/hv_vmbus.ko.gz kernel/drivers/scsi/scsi_mod.ko.gz kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/hv/hv_vmbus.ko.gz:
kernel/drivers/ata/libata.ko.gz: kernel/drivers/scsi/scsi_mod.ko.gz kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/ata/libahci.ko.gz: kernel/drivers/ata/libata.ko.gz kernel/drivers/scsi/scsi_mod.ko.gz kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/ata/ahci.ko.gz: kernel/drivers/ata/libahci.ko.gz kernel/drivers/ata/libata.ko.gz kernel/drivers/scsi/scsi_mod.ko.gz kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/ata/ata_piix.ko.gz: kernel/drivers/ata/libata.ko.gz kernel/drivers/scsi/scsi_mod.ko.gz kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/ata/pata_acpi.ko.gz: kernel/drivers/ata/libata.ko.gz kernel/drivers/scsi/scsi_mod.ko.gz kernel/drivers/scsi/scsi_common.ko.gz
kernel/drivers/nvme/host/nvme-core.ko.gz:
kernel/drivers/nvme/host/nvme.ko.gz: kernel/drivers/nvme/host/nvme-core.ko.gz
kernel/drivers/pci/controller/vmd.ko.gz:
kernel/drivers/pci/hotplug/shpchp.ko.gz:
kernel/drivers/md/dm-mod.ko.gz:
kernel/drivers/md/dm-crypt.ko.gz: kernel/drivers/md/dm-mod.ko.gz
kernel/drivers/md/dm-bio-prison.ko.gz:
kernel/drivers/md/dm-thin-pool.ko.gz: kernel/drivers/md/dm-bio-prison.ko.gz kernel/drivers/md/dm-mod.ko.gz
kernel/drivers/md/md-mod.ko.gz:
kernel/drivers/md/raid1.ko.gz: kernel/drivers/md/md-mod.ko.gz
kernel/drivers/md/raid456.ko.gz: kernel/crypto/xor.ko.gz kernel/lib/raid6/raid6_pq.ko.gz kernel/drivers/md/md-mod.ko.gz
";

pub const LTS_BUILTIN: &str = "kernel/drivers/acpi/button.ko\nkernel/drivers/block/loop.ko\nkernel/fs/fat/vfat.ko\n";
pub const LTS_MODINFO: &str = "vfat.license=GPL\0vfat.alias=fs-vfat\0loop.alias=block-major-7-*\0";
pub const LTS_SOFTDEP: &str = "# Soft dependencies extracted from modules themselves.\nsoftdep ext4 pre: crypto-crc32c\n\
    softdep jbd2 pre: crypto-crc32c\nsoftdep btrfs pre: crc32c xxhash64 sha256 blake2b-256\n\
    softdep libcrc32c pre: crc32c\n";

pub const LTS_ALIAS: &str = "\
# Aliases extracted from modules themselves.
alias crypto-crc32c crc32c_intel
alias crc32c crc32c_intel
alias cpu:type:x86,ven*fam*mod*:feature:*0094* crc32c_intel
alias crypto-crc32c crc32c_generic
alias crc32c crc32c_generic
alias blake2b-256 blake2b_generic
alias ext3 ext4
alias fs-ext3 ext4
alias fs-ext4 ext4
alias fs-xfs xfs
alias fs-btrfs btrfs
alias devname:btrfs-control btrfs
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
alias virtio:d00000002v* virtio_blk
alias virtio:d00000008v* virtio_scsi
alias xen:vbd xen_blkfront
alias xenblk xen_blkfront
alias scsi:t-0x14* sd_mod
alias scsi:t-0x00* sd_mod
alias block-major-8-* sd_mod
alias vmbus:d96361baa104294db60572e2ffb1dc7f hv_storvsc
alias acpi*:VMBus:* hv_vmbus
alias acpi*:VMBUS:* hv_vmbus
alias pci:v*d*sv*sd*bc01sc06i01* ahci
alias pci:v00008086d00002922sv*sd*bc*sc*i* ahci
alias pci:v00008086d00007010sv*sd*bc*sc*i* ata_piix
alias pci:v*d*sv*sd*bc01sc01i* pata_acpi
alias pci:v*d*sv*sd*bc01sc08i02* nvme
alias pci:v0000144Dd0000A821sv*sd*bc*sc*i* nvme
alias pci:v00008086d0000201Dsv*sd*bc*sc*i* vmd
alias pci:v*d*sv*sd*bc06sc04i00* shpchp
alias devname:mapper/control dm_mod
alias char-major-10-236 dm_mod
alias md-level-1 raid1
alias md-raid1 raid1
alias md-personality-3 raid1
alias md-level-5 raid456
alias md-raid5 raid456
alias block-major-9-* md_mod
";

/// linux-virt has built in what a virtual machine's disks hang on.
pub const VIRT_DEP: &str = "kernel/drivers/block/exotic_blk.ko.gz:\n";
pub const VIRT_BUILTIN: &str = "\
kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio_pci.ko
kernel/drivers/block/virtio_blk.ko
kernel/drivers/scsi/sd_mod.ko
kernel/drivers/scsi/virtio_scsi.ko
kernel/drivers/scsi/hv_storvsc.ko
kernel/drivers/ata/ahci.ko
kernel/drivers/ata/ata_piix.ko
kernel/drivers/hv/hv_vmbus.ko
kernel/fs/ext4/ext4.ko
";

/// Lines of the files of that name in mkinitfs 3.12.
pub const FEATURES: &[(&str, &str)] = &[
    ("ata", "kernel/drivers/ata/*.ko*\n"),
    ("base", "kernel/drivers/block/loop.ko*\nkernel/drivers/gpu/drm/tiny/simpledrm.ko*\nkernel/fs/overlayfs\n"),
    ("btrfs", "kernel/arch/*/crypto/crc32*\nkernel/crypto/crc32*\nkernel/crypto/xxhash_generic.ko*\nkernel/fs/btrfs\n"),
    (
        "cryptsetup",
        "kernel/crypto/*\nkernel/arch/*/crypto/*\nkernel/drivers/md/dm-crypt.ko*\nkernel/drivers/md/dm-integrity.ko*\n",
    ),
    ("ext4", "kernel/arch/*/crypto/crc32*\nkernel/crypto/crc32*\nkernel/fs/ext4\n"),
    ("kms", "kernel/drivers/char/agp\nkernel/drivers/gpu\nkernel/drivers/i2c\nkernel/drivers/video\n"),
    (
        "lvm",
        "kernel/drivers/md/dm-mod.ko*\nkernel/drivers/md/dm-snapshot.ko*\nkernel/drivers/md/dm-cache.ko*\n\
         kernel/drivers/md/dm-raid.ko*\nkernel/drivers/md/dm-thin-pool.ko*\nkernel/drivers/md/dm-mirror.ko*\n",
    ),
    ("mmc", "kernel/drivers/mmc\nkernel/drivers/regulator\n"),
    (
        "network",
        "kernel/drivers/net/ethernet\nkernel/drivers/net/phy\nkernel/net/packet/af_packet.ko*\n\
         kernel/drivers/virtio/virtio_pci.ko*\nkernel/drivers/net/virtio_net.ko*\nkernel/arch/*/crypto/crc32*\n\
         kernel/crypto/crc32*\n",
    ),
    ("nvme", "kernel/drivers/nvme\nkernel/drivers/pci/controller/vmd.ko*\n"),
    (
        "raid",
        "kernel/drivers/md/raid*\nkernel/drivers/block/cciss*\nkernel/arch/*/crypto/crc32*\nkernel/crypto/crc32*\n",
    ),
    ("scsi", "kernel/drivers/scsi/*\nkernel/drivers/message/fusion\n"),
    ("usb", "kernel/drivers/usb/host\nkernel/drivers/usb/storage\nkernel/fs/fat\nkernel/fs/nls\n"),
    (
        "virtio",
        "kernel/drivers/block/virtio*\nkernel/drivers/virtio\nkernel/drivers/net/virtio_net*\n\
         kernel/drivers/char/hw_random/virtio-rng*\nkernel/drivers/char/virtio_console*\nkernel/fs/fuse/virtiofs*\n",
    ),
    ("xfs", "kernel/arch/*/crypto/crc32*\nkernel/crypto/crc32*\nkernel/fs/xfs\n"),
];
