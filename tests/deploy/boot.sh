# Lets systemd boot as process 1 of namespaces of its own, with the units, the user and the folder of deploy/systemd, and a network
# of its own. Called as root, within `unshare --mount --pid --fork --uts --ipc --net --cgroup`, with: a folder that is thrown away
# afterwards, the repository, the program, and a file of settings.
set -euf
folder=$1 repository=$2 program=$3 settings=$4

mount --make-rprivate /
mkdir "$folder/etc" "$folder/bin"
cp /etc/passwd /etc/group /etc/shadow /etc/gshadow /etc/nsswitch.conf "$folder/etc"
echo 127.0.0.1 localhost >"$folder/etc/hosts"
: >"$folder/etc/machine-id"
cp "$program" "$folder/bin/sluice-gateway"
mount --bind "$folder/etc" /etc
mount --bind "$folder/bin" /usr/local/bin
mount -t proc proc /proc
ip link set lo up
# Only the tree that this process is in is seen, and written.
mount -t tmpfs tmpfs /sys/fs/cgroup
if grep -q name=systemd /proc/self/cgroup; then
  mkdir /sys/fs/cgroup/systemd
  mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
else
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi

mount -t tmpfs tmpfs /run
mkdir /run/lock /run/units
cp "$repository/deploy/systemd/sluice-gateway.service" "$repository/deploy/systemd/sluice-gateway@.service" /run/units
for target in default sysinit basic shutdown; do
  echo '[Unit]' >"/run/units/$target.target"
done
systemd-sysusers "$repository/deploy/systemd/sluice.sysusers.conf"
systemd-tmpfiles --create "$repository/deploy/systemd/sluice.tmpfiles.conf"
install --mode=600 "$settings" /etc/sluice/gateway.env

exec env -i container=test PATH="$PATH" SYSTEMD_UNIT_PATH=/run/units SYSTEMD_LOG_TARGET=console \
  /lib/systemd/systemd --system --unit=default.target
