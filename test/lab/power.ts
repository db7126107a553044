/**
 * A disk that can lose its power: an ext4 on a loop device in a test host. The power goes by FS_IOC_SHUTDOWN without a
 * flush of the journal: from that moment nothing reaches the device, whoever asks. Then all processes of the host end, as
 * they would, and the file system is mounted again from what the device has.
 *
 * The loop device is freed by its unmount (autoclear), thus also when the host, or we, die first.
 */

import { randomBytes } from "node:crypto";
import type { Host } from "./host.ts";

export interface Disk extends AsyncDisposable {
  readonly path: string;
  /** What was written and not fsynced may be lost or not; what was fsynced must be there. The host's processes end. */
  losePower(): Promise<void>;
}

export interface DiskOptions {
  readonly mb: number;
}

const opening = `
image=$1 path=$2 mb=$3
[ -e /dev/loop-control ] || mknod -m 600 /dev/loop-control c 10 237
for n in $(seq 0 63); do [ -e /dev/loop$n ] || mknod -m 600 /dev/loop$n b 7 $n; done
truncate -s "$mb"M "$image"
mkfs.ext4 -q -F "$image"
mkdir -p "$path"
mount -o loop "$image" "$path"`;

// 0x8004587d is FS_IOC_SHUTDOWN, 2 is NOLOGFLUSH. The path is checked to be the mount: the next above is the host's root.
const shutdown = `
mountpoint -q "$1"
perl -e 'open(my $d, "<", $ARGV[0]) or die $!; my $how = pack("L", 2); ioctl($d, 0x8004587d, $how) or die $!' "$1"`;

const remounting = `
umount "$2"
mount -o loop "$1" "$2"`;

/** Mounts a new, empty disk over a path of the host. `path` is absolute; `mb` is 16 or more. */
export async function mountDisk(host: Host, path: string, { mb }: DiskOptions): Promise<Disk> {
  const image = `/run/disk-${randomBytes(6).toString("hex")}`;
  const sh = async (doing: string, script: string, ...args: string[]) => {
    const { code, stderr } = await host.run("sh", ["-euc", script, "sh", ...args]);
    if (code !== 0) throw new Error(`${host.name}: ${doing} ${path}: ${stderr.trim()}`);
  };
  await sh("mount a disk on", opening, image, path, String(mb));
  return {
    path,
    losePower: async () => {
      await sh("cut the power of", shutdown, path);
      host.killAll();
      await sh("mount again", remounting, image, path);
    },
    [Symbol.asyncDispose]: async () => {
      if (host.isOn) await sh("unmount", 'umount -l "$2" && rm "$1"', image, path);
    },
  };
}
