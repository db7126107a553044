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
  all nan default none null-user user_alias runas_alias host_alias cmnd_alias defaults`.split(/\s+/),
);

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

// What a directory may say where POSIX names are made of it: a plain word. Anything else (quotes, other scripts) is
// refused: to repair it would be to guess, and two guesses can meet.
const derivable = /^[A-Za-z0-9._-]+$/;

/** What becomes of spaces between words: they are refused, or each is a `-`. */
export type Spaces = "refuse" | "dash";

/**
 * What a stated value adds to a POSIX name: lower-cased, dots made `-`.
 * @throws Refusal `invalid`: what nothing can be derived from, with the rule.
 */
export function derive(field: string, value: string, spaces: Spaces = "refuse"): string {
  const words = spaces === "dash" ? value.replaceAll(" ", "-") : value;
  if (!derivable.test(words)) {
    const rule = `must match ${derivable.source}${spaces === "dash" ? ", or have spaces" : ""}`;
    refuse("invalid", `no POSIX name can be made of ${field} ${quote(value)}: ${rule}`);
  }
  return words.toLowerCase().replaceAll(".", "-");
}

/** The names to try for one stem, best first: the stem itself, then with 2, 3, ... behind it. */
export function nameCandidates(stem: Name): Name[] {
  return ladder.map((suffix) => (stem.slice(0, longestName - suffix.length) + suffix) as Name);
}

const ladder = ["", ...Array.from({ length: 98 }, (_, index) => String(index + 2))];
