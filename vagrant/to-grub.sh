#!/bin/sh
# In the machine, as root: GRUB for UEFI, as Alpine's own installer sets it up, where something else is in place.
set -eu
[ -d /sys/firmware/efi ] || { echo "this machine was not started by UEFI" >&2; exit 1; }
if [ -e /boot/grub/grub.cfg ] || [ -e /boot/efi/EFI/alpine/grubx64.efi ]; then exit 0; fi
apk add grub grub-efi efibootmgr
grub-install --target=x86_64-efi --efi-directory="$(findmnt -no TARGET -t vfat 2> /dev/null || echo /boot/efi)" --bootloader-id=alpine
grub-mkconfig -o /boot/grub/grub.cfg
