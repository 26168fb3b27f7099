#!/bin/sh
set -eu

# The second disk, whatever the kernel calls it: the one without partitions.
disk=$(lsblk -dnpo NAME,TYPE | awk '$2 == "disk" { print $1 }' | while read -r name; do
  [ "$(lsblk -npo NAME "$name" | wc -l)" = 1 ] && echo "$name"
done | head -n 1)
blkid "$disk" || mkfs.ext4 -m 0 "$disk"
mkdir -p /var/lib/entrepot
echo "$disk /var/lib/entrepot ext4 noatime 0 2" >> /etc/fstab
mount /var/lib/entrepot

apt-get update
apt-get install -y python3-venv
python3 -m venv /opt/entrepot
/opt/entrepot/bin/pip install '${package}'

useradd --system --home-dir /var/lib/entrepot --shell /usr/sbin/nologin entrepot
chown entrepot:entrepot /var/lib/entrepot
mkdir -p /etc/entrepot
cat > /etc/entrepot/entrepot.yaml <<'SETTINGS'
${settings}
SETTINGS

cat > /etc/systemd/system/entrepot.service <<'UNIT'
[Unit]
Description=Entrepot, an OCI registry pull-through cache
Wants=network-online.target
After=network-online.target

[Service]
User=entrepot
ExecStart=/opt/entrepot/bin/entrepot serve --config /etc/entrepot/entrepot.yaml
Restart=always
RestartSec=1
LimitNOFILE=65536
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
ReadWritePaths=/var/lib/entrepot

[Install]
WantedBy=multi-user.target
UNIT
systemctl daemon-reload
systemctl enable --now entrepot
