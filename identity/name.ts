/**
 * POSIX names of users and groups. One strict alphabet serves passwd, group, sudoers, sshd's %u and Slurm alike:
 * `[a-z_][a-z0-9_-]{0,30}` with no reserved name. Dots are not in it: a sudoers.d file whose name has one is silently
 * ignored, and `chown a.b` means user a, group b. What does not fit is refused, never repaired.
 */

import { quote, refuse } from "./refusal.ts";

/** A name that fits the alphabet and is nobody's on a Linux system. */
export type Name = string & { readonly __name: unique symbol };

/** useradd(8): at most 32 bytes; one is kept for the suffixes that tools append. */
export const longestName = 31;

const alphabet = /^[a-z_][a-z0-9_-]*$/;

// System accounts and privileged groups of the distributions and cloud agents that Slurm nodes run. A directory that
// could claim one of these would own a service, a device or `%sudo`.
const reserved = new Set(
  `root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody nogroup _apt
  systemd systemd-network systemd-resolve systemd-timesync systemd-coredump systemd-journal systemd-oom
  systemd-journal-remote systemd-journal-upload messagebus dbus sshd ssh polkitd rtkit avahi colord cups pulse
  gdm tss uuidd tcpdump landscape pollinate syslog whoopsie usbmux dnsmasq chrony chronyd ntp ntpsec _chrony rpc
  rpcuser statd _rpc nfsnobody postfix postdrop smmsp mysql mariadb postgres redis slurm slurmrestd munge nslcd sssd
  ldap openldap oprofile docker podman containerd kubelet kube-proxy etcd rollcall halt shutdown operator ftp admin
  administrator toor sudo wheel adm tty disk kmem dialout fax voice cdrom floppy tape audio dip src shadow utmp wtmp
  video render sasl plugdev staff users input sgx kvm netdev lxd libvirt libvirt-qemu crontab ssl-cert google-sudoers
  ssm-user ec2-user ubuntu debian cloud-user centos rocky almalinux azureuser vagrant nvidia-persistenced dcgm nx
  all default none null-user user_alias runas_alias host_alias cmnd_alias defaults`.split(/\s+/),
);

/** Whether Rollcall keeps a name from every directory because a system uses it. */
export function isReserved(name: string): boolean {
  return reserved.has(name);
}

/**
 * Parses a POSIX name of a user or a group.
 * @throws Refusal `invalid`, with the rule that is broken.
 */
export function parseName(value: unknown): Name {
  if (typeof value !== "string") refuse("invalid", `a POSIX name must be text, not ${quote(typeof value)}`);
  if (value.length === 0 || value.length > longestName) {
    refuse("invalid", `the POSIX name ${quote(value)} has ${value.length} characters; 1 to ${longestName} are allowed`);
  }
  if (!alphabet.test(value)) {
    refuse("invalid", `the POSIX name ${quote(value)} does not match [a-z_][a-z0-9_-]*`);
  }
  if (reserved.has(value)) refuse("invalid", `the POSIX name ${quote(value)} is reserved for the system`);
  return value as Name;
}

/**
 * Derives candidates for a POSIX name from a SCIM userName, best first: the local part of an e-mail address, lower-cased,
 * every run of other characters made one `-`, then the same with 2, 3, ... behind it. Nothing is derived from a value
 * with no usable character.
 */
export function* nameCandidates(userName: string): Generator<Name> {
  const local = userName.split("@", 1)[0] ?? "";
  const stem = local
    .normalize("NFKD")
    .replace(/\p{Mark}/gu, "")
    .toLowerCase()
    .replace(/[^a-z0-9_-]+/g, "-")
    .replace(/^[-0-9]+|-+$/g, "")
    .slice(0, longestName);
  if (stem === "") return;
  for (let suffix = 1; suffix < 1000; suffix++) {
    const tail = suffix === 1 ? "" : String(suffix);
    const candidate = stem.slice(0, longestName - tail.length) + tail;
    if (!reserved.has(candidate)) yield candidate as Name;
  }
}
