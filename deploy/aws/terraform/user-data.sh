#!/bin/sh
set -eu

# The second disk, whatever the kernel calls it: the one without partitions. It stands where systemd has the folder of
# the unit's CacheDirectory, and systemd gives it to the unit's user.
disk=$(lsblk -dnpo NAME,TYPE | awk '$2 == "disk" { print $1 }' | while read -r name; do
  [ "$(lsblk -npo NAME "$name" | wc -l)" = 1 ] && echo "$name"
done | head -n 1)
blkid "$disk" || mkfs.ext4 -m 0 "$disk"
mkdir -p /var/cache/private/entrepot
echo "UUID=$(blkid -s UUID -o value "$disk") /var/cache/private/entrepot ext4 noatime 0 2" >> /etc/fstab
mount /var/cache/private/entrepot
chmod 700 /var/cache/private /var/cache/private/entrepot

apt-get update
apt-get install -y curl python3-venv
curl --fail --silent --show-error --location --proto '=https' --retry 5 --output /root/entrepot.tar '${bundle_url}'
echo '${bundle_sha256}  /root/entrepot.tar' | sha256sum --check --strict
mkdir -p /root/entrepot-wheels
tar --extract --file /root/entrepot.tar --directory /root/entrepot-wheels --no-same-owner
python3 -m venv /opt/entrepot
/opt/entrepot/bin/pip install --no-index --find-links /root/entrepot-wheels entrepot

echo '${settings}' | base64 --decode > /etc/entrepot.yaml
/opt/entrepot/bin/entrepot config check /etc/entrepot.yaml
echo '${unit}' | base64 --decode > /etc/systemd/system/entrepot.service
systemctl daemon-reload
systemctl enable --now entrepot
