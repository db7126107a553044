/**
 * A process of a test host, held as a unit file or a pod's manifest says, by the kernel's own means: a root of its own, read-only, with these
 * mounts in it; few capabilities or none; no way to new ones; no other system calls than these. It has the host's pids and network.
 *
 * The root is the host's own, without what is mounted in it. The checkout is not there: what runs must bring all it needs.
 */

import { fileURLToPath } from "node:url";
import type { Host, Inmate } from "./host.ts";

export interface Confinement {
  /** Those that uid 0 keeps, as the kernel spells them less `CAP_`, in small letters. */
  readonly capabilities: readonly string[];
  /** Supplementary groups. */
  readonly groups: readonly number[];
  readonly newPrivileges: boolean;
  readonly rootReadOnly: boolean;
  readonly mounts: readonly Mount[];
  /** System calls that are let through, by name; all others fail with EPERM. Undefined: every call. */
  readonly calls?: readonly string[] | undefined;
  readonly environment: Readonly<Record<string, string>>;
  readonly command: readonly string[];
}

/** A folder or file of the host, or an empty folder, at a place of the new root. */
export interface Mount {
  /** Absolute, on the host; undefined: an empty tmpfs. */
  readonly source: string | undefined;
  readonly target: string;
  readonly readOnly: boolean;
}

const repo = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** Where the Node that runs us is found in such a root. */
export const node = "/usr/bin/node";

/** The host's folder in which a confined process's refused calls are written, one a line, as strace shows them. */
export const refusals = "/run/refused-calls";

const entering = `
root=/run/confined/$$
mkdir -p "$root"
mount --bind / "$root"
mkdir -p ${refusals}
place() {
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$root\${2%/*}"; [ -e "$root$2" ] || : >"$root$2"; fi
  mount --bind "$1" "$root$2"
  [ "$3" = rw ] || mount -o remount,bind,ro "$root$2"
}
hide() { mkdir -p "$root$1"; mount -t tmpfs -o mode=755 tmpfs "$root$1"; }
place "$1" ${node} ro
hide "$2"
shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
readonly=$1
shift
while [ "$1" != -- ]; do
  if [ -n "$1" ]; then place "$1" "$2" "$3"; else hide "$2"; fi
  shift 3
done
shift
[ "$readonly" = no ] || mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"`;

/** Starts it; as with any inmate, `kill` reaches the process itself. */
export function spawnConfined(host: Host, held: Confinement): Inmate {
  const kept = ["-all", ...held.capabilities.map((name) => `+${name}`)].join(",");
  const privileges = [
    ...["setpriv", `--inh-caps=${kept}`, `--bounding-set=${kept}`, "--ambient-caps=-all"],
    ...(held.groups.length > 0 ? [`--groups=${held.groups.join(",")}`] : ["--clear-groups"]),
    ...(held.newPrivileges ? [] : ["--no-new-privs"]),
  ];
  // A question mark: not every machine has every call.
  const others = `!${held.calls?.map((call) => `?${call}`).join(",") ?? ""}`;
  // -D: the process is ours, and strace its grandchild. Only what is not let through stops at it.
  const filter = ["-D", "-f", "--seccomp-bpf", "-q", "-A", "-o", `${refusals}/log`, "-e", `trace=${others}`];
  const calls = held.calls === undefined ? [] : ["strace", ...filter, "-e", `inject=${others}:error=EPERM`];
  const log: Mount = { source: refusals, target: refusals, readOnly: false };
  const mounts = [...held.mounts, ...(held.calls === undefined ? [] : [log])].flatMap(
    ({ source, target, readOnly }) => [source ?? "", target, readOnly ? "ro" : "rw"],
  );
  const environment = Object.entries(held.environment).map(([name, value]) => `${name}=${value}`);
  const place = [process.execPath, repo, held.rootReadOnly ? "yes" : "no", ...mounts, "--"];
  const inside = ["env", "-i", ...environment, ...privileges, ...calls, ...held.command];
  return host.spawn("unshare", [
    ...["--mount", "--propagation", "private", "sh", "-euc", entering, "sh"],
    ...place,
    ...inside,
  ]);
}
