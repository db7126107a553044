#!/bin/bash
# init.sh LOWER NAME TOKEN FILE...   Turns fresh namespaces into a test host. namespace.ts runs it, nobody else.
#
# Nothing here may ever happen in the machine's own root: any step that fails ends it all (set -e), every path that is
# written lies below $root, and $root is written only after it was seen to be our overlay. Then it says `ready PID`, the
# pid as the machine counts it, and waits as the host's pid 1 for the end of its stdin: when its starter is gone, by
# whatever death, so is the host.
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin" # `su` without `-` leaves them out
lower=$1 name=$2 token=$3
shift 3
read -r pid _ </proc/self/stat # still the machine's /proc

stage=/run/rollcall-lab/stage
root=$stage/root
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$stage" # seen by this mount namespace only
mkdir "$stage/upper" "$stage/work" "$root"
mount -t overlay -o "lowerdir=$lower,upperdir=$stage/upper,workdir=$stage/work" overlay "$root"
[ "$(stat -f -c %T "$root")" = overlayfs ]

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup" # slurmd wants one
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for node in null zero full random urandom tty; do
  : >"$root/dev/$node"
  mount --bind "/dev/$node" "$root/dev/$node"
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"
ln -s fd/1 "$root/dev/stdout"
ln -s fd/2 "$root/dev/stderr"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/run/sshd" "$root/run/lock"

# An overlay shows the machine's root file system only: what we run from may lie on another one (a CI's checkout).
for file in "$@"; do
  [ -e "$root$file" ] || { mkdir -p "$root${file%/*}" && mount --bind -o ro "${file%/*}" "$root${file%/*}"; }
done

# A machine that is itself a node: its people are not the host's. Named one by one: `*.cache*` would match ld.so.cache.
for map in passwd group shadow; do rm -f "$root/etc/$map.cache" "$root/etc/$map.cache".ix{name,uid,gid}; done
rm -rf "$root/etc/ssh/authorized_keys.d" "$root/etc/rollcall" "$root/var/lib/rollcall" "$root/etc/sudoers.d/rollcall"
rm -f "$root/etc/hostname" "$root/etc/hosts"
echo "$name" >"$root/etc/hostname"
echo "127.0.0.1 localhost" >"$root/etc/hosts"
hostname "$name"
nsswitch=$(grep -vE '^(passwd|group|shadow):' "$root/etc/nsswitch.conf" || true)
rm -f "$root/etc/nsswitch.conf"
printf '%s: files cache\n' passwd group shadow >"$root/etc/nsswitch.conf"
echo "$nsswitch" >>"$root/etc/nsswitch.conf"

mkdir "$root/.old"
cd "$root"
pivot_root . .old
umount -l /.old
rmdir /.old
[ "$(stat -f -c %T /)" = overlayfs ]
echo "$token" >/run/host.ready
echo "ready $pid"
exec -a "rollcall-lab-$name" bash -c 'exec >/dev/null 2>&1; read -r _'
