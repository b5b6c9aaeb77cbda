//! The chain of drivers below `/` against a new kernel and its initramfs, on machines of many kinds.

mod support;

use awg_install::bootable::{self, Checked};
use awg_install::drivers::Met;
use awg_install::error::Error;
use awg_install::facts::root::{self, RootDevice};
use support::LTS;
use support::sysfs::{LTS_ALIAS, LTS_BUILTIN, LTS_DEP, Machine};

const VIRTIO_PCI: &str = "pci:v00001AF4d00001042sv00001AF4sd00001100bc01sc00i00";

/// A cloud server with one virtio disk behind a PCI Express port.
fn virtio(mount: &str) -> Machine {
    let disk = "pci0000:00/0000:00:02.0/0000:01:00.0/virtio1";
    let port = "pci:v00001B36d0000000Csv00000000sd00000000bc06sc04i00";
    Machine::new(mount)
        .device("pci0000:00/0000:00:02.0", port, "pcieport", "pcieportdrv")
        .device("pci0000:00/0000:00:02.0/0000:01:00.0", VIRTIO_PCI, "virtio-pci", "")
        .device(disk, "virtio:d00000002v00001AF4", "virtio_blk", "")
        .block(&format!("{disk}/block/vda"), "254:0", &[])
        .block(&format!("{disk}/block/vda/vda1"), "254:1", &[])
        .block(&format!("{disk}/block/vda/vda2"), "254:2", &[])
}

fn second_disk(machine: Machine) -> Machine {
    machine
        .device("pci0000:00/0000:00:05.0", VIRTIO_PCI, "virtio-pci", "virtio_pci")
        .device("pci0000:00/0000:00:05.0/virtio2", "virtio:d00000002v00001AF4", "virtio_blk", "virtio_blk")
        .block("pci0000:00/0000:00:05.0/virtio2/block/vdb", "254:16", &[])
}

fn scsi_disk(machine: Machine, at: &str) -> Machine {
    let target = format!("{at}/host0/target0:0:0/0:0:0:0");
    machine.device(&target, "scsi:t-0x00", "sd", "").block(&format!("{target}/block/sda"), "8:0", &[]).block(
        &format!("{target}/block/sda/sda3"),
        "8:3",
        &[],
    )
}

fn ahci() -> Machine {
    let controller = "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01";
    let machine = Machine::new("8:3 ext4 /dev/sda3").device("pci0000:00/0000:00:1f.2", controller, "ahci", "ahci");
    scsi_disk(machine, "pci0000:00/0000:00:1f.2/ata1")
}

fn nvme(mount: &str) -> Machine {
    Machine::new(mount)
        .device("pci0000:00/0000:00:1e.0", "pci:v0000144Dd0000A821sv0000144Dsd0000A801bc01sc08i02", "nvme", "nvme")
        .block("pci0000:00/0000:00:1e.0/nvme/nvme0/nvme0n1", "259:0", &[])
        .block("pci0000:00/0000:00:1e.0/nvme/nvme0/nvme0n1/nvme0n1p2", "259:2", &[])
}

fn check(machine: &Machine) -> Checked {
    bootable::check(&machine.host(), LTS, "lts").expect("drivers for all of it")
}

fn refused(machine: &Machine) -> Error {
    bootable::check(&machine.host(), LTS, "lts").expect_err("no drivers")
}

/// What each need is met by: names of modules, or `built in`.
fn needs(machine: &Machine) -> Vec<String> {
    let one = |met: &Met| match met {
        Met::BuiltIn => "built in".to_string(),
        Met::Module(modules) => modules.iter().map(|m| m.name.as_str()).collect::<Vec<_>>().join(" or "),
        Met::Nowhere => panic!("reported as an error"),
    };
    check(machine).needs.iter().map(|need| one(&need.met)).collect()
}

/// With the features that are on, `mkinitfs` brings all but `lacks`; `repair` adds `features` to have them.
#[track_caller]
fn repaired(machine: &Machine, lacks: &[&str], features: &[&str]) {
    machine.mkinitfs();
    let found = check(machine);
    assert!(found.damage.is_none(), "{:?}", found.damage);
    let mut absent: Vec<String> = found.missing.iter().flat_map(|m| m.absent.clone()).collect();
    absent.sort();
    absent.dedup();
    assert_eq!(absent, lacks, "{:#?}", found.missing);
    let before = machine.conf();
    let added = bootable::repair(&machine.host(), LTS, "lts", &found).expect("a repair");
    assert_eq!(added, features);
    assert!(check(machine).is_complete());
    let after = match features {
        [] => before,
        features => before.replace("\"\n", &format!(" {}\"\n", features.join(" "))),
    };
    assert_eq!(machine.conf(), after);
}

#[test]
fn virtio_disk_with_the_features_of_a_cloud_image() {
    let machine = virtio("254:2 ext4 /dev/vda2");
    // The port's driver is for hotplug only: neither it nor shpchp, which answers to its modalias, is needed.
    assert_eq!(needs(&machine), ["virtio_blk", "virtio_pci", "ext4", "crc32c_generic or crc32c_intel"]);
    repaired(&machine, &[], &[]);
    // Nothing is done where nothing is missing.
    machine.root.write("/.fakeroot/commands", "");
    assert!(bootable::repair(&machine.host(), LTS, "lts", &check(&machine)).expect("nothing to do").is_empty());
    assert!(machine.root.commands().is_empty());
}

#[test]
fn a_feature_that_is_off_is_added() {
    let machine = virtio("254:2 ext4 /dev/root").features("base ext4");
    repaired(
        &machine,
        &["virtio", "virtio_blk", "virtio_pci", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_ring"],
        &["virtio"],
    );
    let machine = virtio("254:2 ext4 /dev/root").features("base virtio");
    repaired(&machine, &["crc32c_generic", "ext4", "jbd2", "mbcache"], &["ext4"]);
}

#[test]
fn ahci_disk() {
    let machine = ahci();
    assert_eq!(needs(&machine)[..3], ["sd_mod", "ahci", "ext4"]);
    repaired(&machine, &["ahci", "libahci", "libata"], &["ata"]);
    let found = check(&ahci().features("base ext4"));
    assert!(found.missing[0].what.contains("driver sd of 0:0:0:0 (scsi:t-0x00)"), "{:?}", found.missing);
}

#[test]
fn the_driver_in_use_counts_and_not_another_that_answers() {
    // pata_acpi answers to any IDE controller.
    let controller = "pci:v00008086d00007010sv00001AF4sd00001100bc01sc01i80";
    let machine = Machine::new("8:3 ext4 /dev/sda3").device("pci0000:00/0000:00:01.1", controller, "ata_piix", "");
    assert_eq!(needs(&scsi_disk(machine, "pci0000:00/0000:00:01.1/ata1"))[..2], ["sd_mod", "ata_piix"]);
    // Under a name that this kernel does not know, either will do.
    let machine = Machine::new("8:3 ext4 /dev/sda3").device("pci0000:00/0000:00:01.1", controller, "PIIX_IDE", "piix");
    assert_eq!(needs(&scsi_disk(machine, "pci0000:00/0000:00:01.1/ata1"))[..2], ["sd_mod", "ata_piix or pata_acpi"]);
}

#[test]
fn nvme_disk() {
    let machine = nvme("259:2 ext4 /dev/nvme0n1p2");
    assert_eq!(needs(&machine)[..2], ["nvme", "ext4"]);
    repaired(&machine, &["nvme", "nvme_core"], &["nvme"]);
}

#[test]
fn nvme_behind_a_raid_controller_and_with_multipath() {
    let vmd = "pci0000:00/0000:00:0e.0";
    let disk = "pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0/10000:e1:00.0";
    let machine = Machine::new("259:2 ext4 /dev/nvme0n1p2")
        .device(vmd, "pci:v00008086d0000201Dsv00000000sd00000000bc01sc04i00", "vmd", "vmd")
        .device(disk, "pci:v0000144Dd0000A821sv0000144Dsd0000A801bc01sc08i02", "nvme", "nvme")
        .block("virtual/nvme-subsystem/nvme-subsys0/nvme0n1", "259:1", &[])
        .block("virtual/nvme-subsystem/nvme-subsys0/nvme0n1/nvme0n1p2", "259:2", &[]);
    machine.root.write(&format!("/sys/devices/{disk}/nvme/nvme0/uevent"), "");
    machine.link("/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0", &format!("/sys/devices/{disk}/nvme/nvme0"));
    assert_eq!(needs(&machine)[..3], ["nvme", "vmd", "ext4"]);
    repaired(&machine, &["nvme", "nvme_core", "vmd"], &["nvme"]);
}

#[test]
fn virtio_scsi_disk() {
    let controller = "pci0000:00/0000:00:04.0";
    let machine = Machine::new("8:3 ext4 /dev/sda3")
        .device(controller, "pci:v00001AF4d00001048sv00001AF4sd00001100bc01sc00i00", "virtio-pci", "virtio_pci")
        .device(&format!("{controller}/virtio0"), "virtio:d00000008v00001AF4", "virtio_scsi", "");
    let machine = scsi_disk(machine, &format!("{controller}/virtio0"));
    assert_eq!(needs(&machine)[..3], ["sd_mod", "virtio_scsi", "virtio_pci"]);
    repaired(&machine, &[], &[]);
    let machine = machine.features("base ext4");
    machine.mkinitfs();
    let added = bootable::repair(&machine.host(), LTS, "lts", &check(&machine)).expect("a repair");
    assert_eq!(added, ["scsi", "virtio"]);
}

#[test]
fn hyper_v_disk() {
    let bus = "LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00/VMBUS:00";
    let disk = format!("{bus}/f8b3781a-1e82-4818-a1c3-63d806ec15bb");
    let machine = Machine::new("8:3 ext4 /dev/sda3")
        .device("LNXSYSTM:00", "acpi:LNXSYSTM:", "", "")
        .device("LNXSYSTM:00/LNXSYBUS:00/ACPI0004:00", "acpi:ACPI0004:", "", "")
        .device(bus, "acpi:VMBUS:VMBus:", "vmbus", "")
        .device(&disk, "vmbus:d96361baa104294db60572e2ffb1dc7f", "hv_storvsc", "hv_storvsc");
    let machine = scsi_disk(machine, &disk).features("base ext4 virtio");
    assert_eq!(needs(&machine)[..4], ["sd_mod", "hv_storvsc", "hv_vmbus", "ext4"]);
    let lacks = ["hv_storvsc", "hv_vmbus", "scsi_common", "scsi_mod", "scsi_transport_fc", "sd_mod"];
    repaired(&machine, &lacks, &["scsi"]);
}

#[test]
fn xen_disk_has_no_feature() {
    let machine = Machine::new("202:1 ext4 /dev/xvda1")
        .device("vbd-51712", "xen:vbd", "vbd", "")
        .block("vbd-51712/block/xvda", "202:0", &[])
        .block("vbd-51712/block/xvda/xvda1", "202:1", &[]);
    assert_eq!(needs(&machine)[..2], ["xen_blkfront", "ext4"]);
    machine.mkinitfs();
    let before = machine.conf();
    let e = bootable::repair(&machine.host(), LTS, "lts", &check(&machine)).expect_err("no feature");
    let shown = e.to_string();
    for said in ["driver vbd of vbd-51712 (xen:vbd): xen_blkfront is not in it", "/boot/initramfs-lts", "own.modules"] {
        assert!(shown.contains(said), "{shown}");
    }
    assert_eq!(machine.conf(), before);
    // The remedy works.
    let machine = machine.text("/etc/mkinitfs/features.d/own.modules", "kernel/drivers/block/xen-blkfront.ko.gz\n");
    repaired(&machine, &["xen_blkfront"], &["own"]);
}

#[test]
fn lvm_on_virtio() {
    let machine = virtio("252:0 ext4 /dev/mapper/vg0-root")
        .block("virtual/block/dm-0", "252:0", &["vda2"])
        .text("/sys/devices/virtual/block/dm-0/dm/name", "vg0-root\n")
        .text("/sys/devices/virtual/block/dm-0/dm/uuid", "LVM-zJvc3nLlBoRVd6fJ\n");
    assert_eq!(needs(&machine)[..4], ["virtio_blk", "virtio_pci", "dm_mod", "ext4"]);
    repaired(&machine, &["dm_mod"], &["lvm"]);
}

#[test]
fn a_thin_volume_on_luks_on_raid() {
    let machine = second_disk(virtio("252:3 xfs /dev/mapper/vg0-root"))
        .block("virtual/block/md127", "9:127", &["vda2", "vdb"])
        .text("/sys/devices/virtual/block/md127/md/level", "raid5\n")
        .block("virtual/block/dm-0", "252:0", &["md127"])
        .text("/sys/devices/virtual/block/dm-0/dm/name", "crypted\n")
        .text("/sys/devices/virtual/block/dm-0/dm/uuid", "CRYPT-LUKS2-aa-crypted\n")
        .block("virtual/block/dm-2", "252:2", &["dm-0"])
        .text("/sys/devices/virtual/block/dm-2/dm/name", "vg0-pool-tpool\n")
        .text("/sys/devices/virtual/block/dm-2/dm/uuid", "LVM-zJvc-tpool\n")
        .block("virtual/block/dm-3", "252:3", &["dm-2"])
        .text("/sys/devices/virtual/block/dm-3/dm/name", "vg0-root\n")
        .text("/sys/devices/virtual/block/dm-3/dm/uuid", "LVM-zJvc\n");
    let found = needs(&machine);
    let stack = ["dm_mod", "dm_mod", "dm_thin_pool", "dm_mod", "dm_crypt", "md_mod", "raid456", "xfs"];
    assert_eq!(found[4..12], stack, "{found:?}");
    machine.mkinitfs();
    let added = bootable::repair(&machine.host(), LTS, "lts", &check(&machine)).expect("a repair");
    assert_eq!(added, ["lvm", "cryptsetup", "raid", "xfs"]);
}

#[test]
fn raid1_of_two_disks() {
    let machine = second_disk(virtio("9:0 ext4 /dev/md0"))
        .block("virtual/block/md0", "9:0", &["vda2", "vdb"])
        .text("/sys/devices/virtual/block/md0/md/level", "raid1\n");
    // Both disks' devices are there, each once.
    let modules = ["virtio_blk", "virtio_pci", "virtio_blk", "virtio_pci", "md_mod", "raid1", "ext4"];
    assert_eq!(needs(&machine)[..7], modules);
    repaired(&machine, &["md_mod", "raid1"], &["raid"]);
}

#[test]
fn btrfs_has_a_number_of_its_own() {
    let machine = second_disk(virtio("0:25 btrfs /dev/vda2")).text("/sys/fs/btrfs/features/raid56", "1\n");
    machine.link("/sys/fs/btrfs/5b2c/devices/vda2", "/sys/class/block/vda2");
    machine.link("/sys/fs/btrfs/5b2c/devices/vdb", "/sys/class/block/vdb");
    assert_eq!(root::probe(&machine.host()).blocks, ["vda2", "vdb"]);
    // Of the checksums that btrfs asks for only CRC-32C has to be there.
    let modules = ["virtio_blk", "virtio_pci", "virtio_blk", "virtio_pci", "btrfs", "crc32c_generic or crc32c_intel"];
    assert_eq!(needs(&machine), modules);
    let lacks = ["blake2b_generic", "btrfs", "libcrc32c", "raid6_pq", "xor"];
    repaired(&machine, &lacks, &["btrfs"]);
    let unnamed = virtio("0:25 btrfs /dev/root");
    assert!(root::probe(&unnamed.host()).problem.is_some_and(|p| p.contains("/dev/root (0:25) is not in /sys")));
    unnamed.link("/sys/fs/btrfs/5b2c/devices/vda2", "/sys/class/block/vda2");
    assert_eq!(root::probe(&unnamed.host()).blocks, ["vda2"]);
}

#[test]
fn a_mapped_name_is_found_by_its_link_or_its_device() {
    let machine = virtio("0:25 btrfs /dev/mapper/vg0-root")
        .block("virtual/block/dm-0", "252:0", &["vda2"])
        .text("/sys/devices/virtual/block/dm-0/dm/name", "vg0-root\n");
    assert_eq!(root::probe(&machine.host()).blocks, ["dm-0"]);
    let linked = virtio("0:25 btrfs /dev/disk/by-label/root");
    linked.link("/dev/disk/by-label/root", "/dev/vda2");
    assert_eq!(root::probe(&linked.host()).blocks, ["vda2"]);
}

#[test]
fn facts_are_the_same_after_a_round_trip_and_twice() {
    let machine = second_disk(virtio("9:0 ext4 /dev/md0"))
        .block("virtual/block/md0", "9:0", &["vda2", "vdb"])
        .text("/sys/devices/virtual/block/md0/md/level", "raid1\n");
    let facts = root::probe(&machine.host());
    assert_eq!(facts, root::probe(&machine.host()));
    let text = serde_json::to_string(&facts).expect("JSON");
    assert_eq!(serde_json::from_str::<RootDevice>(&text).expect("the same"), facts);
    let drivers: Vec<_> = facts.chain.iter().map(|d| d.driver.as_deref().unwrap_or("none")).collect();
    assert_eq!(drivers, ["virtio_blk", "virtio-pci", "pcieport", "virtio_blk", "virtio-pci"]);
    assert!(!text.contains(&machine.root.dir().display().to_string()), "{text}");
}

#[test]
fn built_in_drivers_need_no_initramfs_entry() {
    let machine = virtio("254:2 ext4 /dev/vda2").features("base");
    let builtin = format!(
        "{LTS_BUILTIN}kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/block/virtio_blk.ko\nkernel/fs/ext4/ext4.ko\n"
    );
    let drop = ["/virtio", "/ext4"];
    let without =
        |text: &str| text.lines().filter(|l| !drop.iter().any(|d| l.contains(d))).collect::<Vec<_>>().join("\n");
    // A built-in driver's device table is in no index.
    machine.kernel(LTS, &without(LTS_DEP), &builtin, &LTS_ALIAS.replace("virtio", "other").replace("ext4", "other"));
    assert_eq!(needs(&machine), ["built in", "built in", "built in"]);
    repaired(&machine, &[], &[]);
}

#[test]
fn a_kernel_without_the_driver_is_refused() {
    let device = |driver: &str| {
        Machine::new("254:2 ext4 /dev/vda2")
            .device("pci0000:00/0000:00:04.0", "pci:v0000FFFFd00000001sv0sd0bc01sc80i00", driver, "")
            .block("pci0000:00/0000:00:04.0/block/exo", "254:2", &[])
    };
    let shown = refused(&device("exotic_blk")).to_string();
    for said in ["6.12.50-0-lts has no driver for the root device /dev/vda2", "exotic_blk of 0000:00:04.0", "userspace"]
    {
        assert!(shown.contains(said), "{shown}");
    }
    // One that can be no module, or both kernels would list it, is part of the kernel.
    assert_eq!(needs(&device("core_of_it"))[0], "ext4");
    let machine = virtio("254:2 zonefs /dev/vda2");
    assert!(refused(&machine).to_string().contains("file system zonefs of /"));
}

#[test]
fn roots_that_cannot_be_judged() {
    for (mount, said) in [
        ("0:31 overlay overlay", "the root file system is overlay"),
        ("0:31 tmpfs tmpfs", "lies on no block device"),
        ("0:31 zfs rpool/ROOT", "the root file system is zfs"),
        ("8:1 ext4 /dev/sda1", "/dev/sda1 (8:1) is not in /sys"),
    ] {
        let shown = refused(&Machine::new(mount)).to_string();
        assert!(shown.contains(said) && shown.contains("remedy"), "{shown}");
    }
    let ram = Machine::new("1:0 ext4 /dev/ram0").block("virtual/block/ram0", "1:0", &[]);
    assert!(refused(&ram).to_string().contains("ram0 exists only in memory"));
    let looping = virtio("252:0 ext4 /dev/dm-0")
        .block("virtual/block/dm-0", "252:0", &["vda2"])
        .text("/sys/devices/virtual/block/dm-0/dm/name", "a\n");
    looping.link("/sys/devices/virtual/block/dm-0/slaves/dm-0", "/sys/devices/virtual/block/dm-0");
    assert_eq!(needs(&looping)[2], "dm_mod");
}

#[test]
fn an_initramfs_of_no_use_is_made_again() {
    let machine = virtio("254:2 ext4 /dev/vda2");
    let cases: [(&[u8], &str); 4] = [
        (b"", "it is empty"),
        (b"initramfs of 6.12.50-0-lts\n", "neither a cpio archive"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\x03", "gzip data is cut short"),
        (b"\x02\x21\x4c\x18\0\0\0\0", "lz4"),
    ];
    for (bytes, said) in cases {
        machine.root.write_bytes("/boot/initramfs-lts", bytes);
        let found = check(&machine);
        assert!(found.damage.as_ref().is_some_and(|e| e.to_string().contains(said)), "{:?}", found.damage);
        assert!(bootable::repair(&machine.host(), LTS, "lts", &found).expect("a repair").is_empty());
        assert!(check(&machine).is_complete());
    }
    machine.root.remove("/boot/initramfs-lts");
    assert!(!check(&machine).is_complete());
}

#[test]
fn an_initramfs_of_another_kernel_is_found_out() {
    let machine = virtio("254:2 ext4 /dev/vda2");
    machine.kernel("6.12.51-0-lts", LTS_DEP, LTS_BUILTIN, LTS_ALIAS);
    let status = std::process::Command::new(machine.root.path("/.fakeroot/bin/mkinitfs"))
        .args(["-o", "/boot/initramfs-lts", "6.12.51-0-lts"])
        .env("FAKE_ROOT", machine.root.dir())
        .status();
    assert!(status.expect("a shell").success());
    let found = check(&machine);
    let shown = found.damage.expect("damage").to_string();
    assert!(shown.contains("has no modules of 6.12.50-0-lts") && shown.contains("those of 6.12.51-0-lts"), "{shown}");
    assert_eq!(found.missing.len(), 4);
}

#[test]
fn a_repair_that_fails_is_refused() {
    let machine = nvme("259:2 ext4 /dev/nvme0n1p2");
    machine.mkinitfs();
    // The stand-in fails.
    machine.root.write("/.fakeroot/knobs", "FAKE_FAIL='mkinitfs -o*'\n");
    let shown = bootable::repair(&machine.host(), LTS, "lts", &check(&machine)).expect_err("failed").to_string();
    assert!(shown.contains("making the initramfs failed") && shown.contains("free space"), "{shown}");
    // It succeeds and leaves the same; the feature's file does not say what the original does.
    machine.root.write("/.fakeroot/knobs", "");
    let machine = machine.features("base ext4");
    machine.root.write("/.fakeroot/bin/mkinitfs", "#!/bin/sh\nexit 0\n");
    let shown = bootable::repair(&machine.host(), LTS, "lts", &check(&machine)).expect_err("the same").to_string();
    for said in
        ["would not find /dev/nvme0n1p2", "driver nvme of 0000:00:1e.0", "nvme_core, nvme is not in it", "remedy"]
    {
        assert!(shown.contains(said), "{shown}");
    }
    // A module that is listed and not there would be left out in silence.
    machine.root.remove(&format!("/lib/modules/{LTS}/kernel/drivers/nvme/host/nvme.ko.gz"));
    let shown = bootable::repair(&machine.host(), LTS, "lts", &check(&machine)).expect_err("not there").to_string();
    assert!(shown.contains("nvme.ko.gz is not there") && shown.contains("apk fix linux-lts"), "{shown}");
}

#[test]
fn a_kernel_without_index_is_refused() {
    let machine = virtio("254:2 ext4 /dev/vda2");
    for file in ["modules.dep", "modules.builtin"] {
        machine.root.remove(&format!("/lib/modules/{LTS}/{file}"));
    }
    assert!(refused(&machine).to_string().contains("run `depmod 6.12.50-0-lts`"));
}

/// `AWG_TEST_INITRAMFS=/boot/initramfs-lts cargo test --test bootable real -- --ignored --nocapture`
#[test]
#[ignore = "needs a real initramfs, named in AWG_TEST_INITRAMFS"]
fn real_initramfs() {
    let path = std::env::var("AWG_TEST_INITRAMFS").expect("AWG_TEST_INITRAMFS");
    let began = std::time::Instant::now();
    let names = awg_install::initramfs::names(std::fs::File::open(&path).expect("the file")).expect("an initramfs");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    eprintln!("{} names in {:?}; {peak}", names.len(), began.elapsed());
    names.iter().filter(|n| n.contains(".ko")).for_each(|n| println!("{n}"));
}
