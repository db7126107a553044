/**
 * The layer that all test hosts stand on: the machine's own root, and above it the Debian packages that a node has.
 * Built once per boot by layer.sh, whoever asks first; the machine itself is not changed.
 *
 * A machine that can have no hosts is an answer, not an error: the demo then does with less and says so; CI fails.
 */

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

export type Layer =
  | { readonly kind: "ready" /** What an overlay's `lowerdir=` takes. */; readonly lower: string }
  | { readonly kind: "unavailable"; readonly because: Obstacle /** For people. */; readonly detail: string };

export type Obstacle = "not-root" | "no-overlay" | "no-packages";

/** What every node has: the consumers that Rollcall speaks to, and the tools that the tests take them apart with. */
export const nodePackages: readonly string[] = [
  "e2fsprogs",
  "faketime",
  "iproute2",
  "libnss-cache",
  "libpam-modules",
  "openssh-client",
  "openssh-server",
  "passwd",
  "procps",
  "strace",
  "sudo",
  "systemd",
];

const script = fileURLToPath(new URL("layer.sh", import.meta.url));

const obstacles: Record<number, Obstacle> = { 3: "not-root", 4: "no-overlay", 5: "no-packages" };

/** Finds or builds the layer; the first time takes as long as apt does. `more` are packages beside `nodePackages`. */
export function buildLayer(more: readonly string[] = []): Promise<Layer> {
  const packages = [...new Set([...nodePackages, ...more])].toSorted();
  return new Promise((resolve, reject) => {
    execFile("sh", [script, ...packages], (error, stdout, stderr) => {
      if (error === null) return resolve({ kind: "ready", lower: stdout.trim() });
      const because = obstacles[Number(error.code)];
      if (because === undefined) return reject(new Error(`build the layer: ${stderr}`, { cause: error }));
      resolve({ kind: "unavailable", because, detail: stderr.trim() });
    });
  });
}
