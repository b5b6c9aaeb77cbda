#!/bin/sh
# What an operator's own script does when a setting or the image has changed, for `scripts/lab downtime` to be measured
# against: stop, pull, start.
#
#     downtime-peer.sh IMAGE MEMORY
#
# The compose file is the one that runs, with this image by its tag and this limit of memory in MiB.
set -eu

cd /opt/wg-easy
sed -i "s|^\( *image:\).*wg-easy.*|\1 $1|; s|^\( *mem.*_limit:\).*|\1 $2m|" compose.yaml
echo "step: docker compose down"
docker compose down
echo "step: docker compose pull"
docker compose pull --quiet
echo "step: docker compose up --detach"
docker compose up --detach
echo "step: end"
