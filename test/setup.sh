#!/bin/sh
# What the tests need of the machine itself: a few Debian packages, installed if they are missing and this is root. All
# else (libnss-cache, sshd, sudo, strace, iproute2, ...) goes into the layer that test hosts run on: test/lab/layer.sh.
set -eu
export PATH="$PATH:/usr/sbin:/sbin" # `su` without `-` leaves them out

missing=
for pair in ssh-keygen:openssh-client openssl:openssl git:git; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done
# Its programs are in a folder of their own; a database is made by the tests, none by the package.
ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" != 0 ]; then
  echo "the tests need these Debian packages:$missing" >&2
  exit 1
fi
case $missing in
*postgresql*)
  mkdir -p /etc/postgresql-common
  [ -e /etc/postgresql-common/createcluster.conf ] ||
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
  ;;
esac
apt-get update -qq
# shellcheck disable=SC2086  # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing
