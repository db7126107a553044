// Completes package-lock.json after an `npm install`: `npm run lock`.
//
// Tools ship one optional package per platform. npm leaves out of the lockfile those that its registry does not have (a
// mirror for Linux keeps no others), and then `npm ci` refuses that same lockfile. An entry with the platform is all it
// wants: what does not fit the machine is never fetched.

import { readFileSync, writeFileSync } from "node:fs";

const systems = ["android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "aix", "win32"];
const path = new URL("../package-lock.json", import.meta.url);
const lock = JSON.parse(readFileSync(path, "utf8"));
const missing = {};

for (const [place, { optionalDependencies = {}, dev = false }] of Object.entries(lock.packages)) {
  if (place === "") continue;
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const entry = `node_modules/${name}`;
    if (lock.packages[entry]) continue;
    if (!/^[0-9.]+[0-9a-z.-]*$/.test(version)) throw new Error(`${place} wants ${name} ${version}: not an exact version`);
    missing[entry] = { version, ...platform(name), ...(dev ? { dev } : {}), optional: true };
  }
}

lock.packages = Object.fromEntries(
  Object.entries({ ...lock.packages, ...missing }).sort(([a], [b]) => (a < b ? -1 : 1)),
);
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`);
console.log(`${Object.keys(missing).length} entries added`);

/** What a platform package runs on, read off its name: `@x/cli-linux-arm64-musl`. */
function platform(name) {
  const words = name.split(/[/-]/);
  const os = systems.find((system) => words.includes(system) || (system === "win32" && words.includes("windows")));
  const cpu = words.findLast((word) => /^(x64|arm64|arm|armv7|ia32|ppc64|riscv64|s390x|loong64|mips64el|wasm32)$/.test(word));
  if (!os && !cpu) throw new Error(`${name} does not say what it runs on, and is not in the registry`);
  const libc = words.some((word) => word.startsWith("musl")) ? { libc: ["musl"] } : {};
  return { cpu: [cpu === "armv7" ? "arm" : cpu], ...(os ? { os: [os] } : {}), ...libc };
}
