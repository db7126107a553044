#!/bin/sh
# layer.sh PACKAGE...   Prints the overlay lowerdir that holds the machine's root plus these Debian packages.
#
# The packages are installed above the machine's root, into /run/rollcall-lab: a tmpfs, since overlayfs refuses layers
# inside each other, and gone with the boot. The machine itself stays as it is. A layer is named after what made it (the
# list, and what the machine already has) and is whole once it has a stamp; without one it is built anew.
#
# Exit: 3 not root, 4 this machine mounts no overlay, 5 the packages do not install. Why, on stderr; all, in LAYER/log.
set -eu
export PATH="$PATH:/usr/sbin:/sbin" # `su` without `-` leaves them out
lab=/run/rollcall-lab

if [ "${1:-}" = --install ]; then # in mount and pid namespaces of its own, which end with us
  layer=$2
  shift 2
  root=$layer/root
  mount --make-rprivate /
  mount -t overlay -o "lowerdir=/,upperdir=$layer/upper,workdir=$layer/work" overlay "$root" || exit 4
  [ "$(stat -f -c %T "$root")" = overlayfs ] || exit 4
  mount --rbind /dev "$root/dev"
  mount -t proc proc "$root/proc"
  for dir in tmp run; do mount -t tmpfs -o mode=1777 tmpfs "$root/$dir"; done
  # It may point into /run, or be a mount of its own, which an overlay does not show.
  if [ -s /etc/resolv.conf ]; then
    cat /etc/resolv.conf >"$layer/resolv.conf"
    cp --remove-destination "$layer/resolv.conf" "$root/etc/resolv.conf"
  fi
  printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # no package starts its daemon
  chmod 755 "$root/usr/sbin/policy-rc.d"
  export DEBIAN_FRONTEND=noninteractive LC_ALL=C
  apt() { chroot "$root" apt-get -qq -o DPkg::Lock::Timeout=60 "$@" >>"$layer/log" 2>&1; }
  install() { apt install -y --no-install-recommends "$@"; }
  if ! install "$@"; then # no lists, or old ones
    apt update || true    # one dead source among several may not matter: the install says
    install "$@" || exit 5
  fi
  apt clean
  exit 0
fi

[ "$(id -u)" = 0 ] || { echo "test hosts need root" >&2; exit 3; }
command -v apt-get >/dev/null || { echo "no apt-get on this machine" >&2; exit 5; }
mkdir -p "$lab"
# The lock for the first mount is /run itself: it leaves no file behind.
flock /run sh -c 'mountpoint -q "$1" || mount -t tmpfs -o mode=755 tmpfs "$1"' sh "$lab" || exit 4
mkdir -p "$lab/stage"

key=$({ printf '%s\n' "$@" && cat "$0" /var/lib/dpkg/status; } | sha256sum | cut -c1-12)
layer=$lab/layer-$key
exec 9>"$lab/lock"
flock 9
if [ ! -e "$layer/stamp" ]; then
  rm -rf "$layer"
  mkdir -p "$layer/upper" "$layer/work" "$layer/root"
  unshare --mount --pid --fork --kill-child sh "$0" --install "$layer" "$@" >&2 || {
    code=$?
    tail -n 5 "$layer/log" >&2 || true
    exit "$code"
  }
  printf '%s\n' "$@" >"$layer/stamp"
fi
echo "$layer/upper:/"
