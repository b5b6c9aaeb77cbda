#!/bin/sh
# Builds the static program and puts it where the Vagrantfile looks for it.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
built=$("$top/scripts/build-static" | tail -n 1)
mkdir -p "$(dirname "$1")"
cp "$built" "$1"
