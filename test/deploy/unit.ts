/** How a service is held, read off its unit file: what of systemd's part a test host can play, for a machine that systemd does not run. */

import { readFileSync } from "node:fs";
import type { Confinement, Mount } from "../lab/confined.ts";
import type { Host } from "../lab/host.ts";

/** The values of each setting, in order; an empty one takes back those before it. */
export type Unit = ReadonlyMap<string, readonly string[]>;

/** Reads a unit and its drop-ins, in this order. */
export function readUnit(...paths: readonly string[]): Unit {
  const settings = new Map<string, string[]>();
  for (const line of paths.flatMap((path) => readFileSync(path, "utf8").split("\n"))) {
    const [, name, value = ""] = /^(\w+)=(.*)$/.exec(line) ?? [];
    if (name === undefined) continue;
    settings.set(name, value === "" ? [] : [...(settings.get(name) ?? []), value]);
  }
  return settings;
}

export interface Surroundings {
  /** What the EnvironmentFile says. */
  readonly environment: Readonly<Record<string, string>>;
  /** Folder of the host with the credentials. */
  readonly credentials: string;
}

const credentialsFolder = "/run/credentials/rollcall-agent.service";

/** @throws Error if the unit asks for something that this reader does not play. */
export async function confinementOf(unit: Unit, host: Host, surroundings: Surroundings): Promise<Confinement> {
  const one = (name: string): string => unit.get(name)?.at(-1) ?? "";
  if (one("User") !== "root" || one("ProtectSystem") !== "strict") throw new Error("only root, only strict");
  const environment = { ...surroundings.environment, CREDENTIALS_DIRECTORY: credentialsFolder };
  const state = `/var/lib/${one("StateDirectory")}`;
  const mounts: Mount[] = [
    { source: state, target: state, readOnly: false },
    ...words(unit, "ReadWritePaths").map((path) => ({ source: path, target: path, readOnly: false })),
    { source: surroundings.credentials, target: credentialsFolder, readOnly: true },
    ...["/tmp", "/var/tmp"].map((target) => ({ source: undefined, target, readOnly: false })),
    ...(one("ProtectHome") === "yes" ? ["/root", "/home"] : []).map((target) => ({
      ...{ source: undefined, target, readOnly: true },
    })),
  ];
  const groups = words(unit, "SupplementaryGroups");
  return {
    capabilities: words(unit, "CapabilityBoundingSet").map((name) => name.replace(/^CAP_/, "").toLowerCase()),
    groups: await Promise.all(
      groups.map(async (group) => Number((await out(host, "getent", "group", group)).split(":")[2])),
    ),
    newPrivileges: one("NoNewPrivileges") !== "yes",
    rootReadOnly: true,
    mounts,
    calls: await callsOf(host, unit.get("SystemCallFilter") ?? []),
    environment: { ...environment, PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin" },
    command: words(unit, "ExecStart").flatMap((word) => expanded(word, environment)),
  };
}

/** The system calls that filters let through, one by one, as systemd itself names its sets. */
async function callsOf(host: Host, filters: readonly string[]): Promise<string[]> {
  const members = async (word: string): Promise<string[]> => {
    if (!word.startsWith("@")) return [word];
    const lines = (await out(host, "systemd-analyze", "syscall-filter", word)).split("\n").slice(1);
    const named = lines.map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"));
    return (await Promise.all(named.map(members))).flat();
  };
  // What systemd lets every service do.
  const admitted = new Set(await members("@default"));
  for (const filter of filters) {
    const calls = (await Promise.all(filter.replace(/^~/, "").split(" ").map(members))).flat();
    for (const call of calls) {
      if (filter.startsWith("~")) admitted.delete(call);
      else admitted.add(call);
    }
  }
  return [...admitted];
}

/** `$NAME` alone is as many words as it holds; `${NAME}` is part of one. */
function expanded(word: string, environment: Readonly<Record<string, string>>): string[] {
  const alone = /^\$(\w+)$/.exec(word)?.[1];
  if (alone !== undefined) return (environment[alone] ?? "").split(" ").filter((part) => part !== "");
  return [word.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => environment[name] ?? "")];
}

function words(unit: Unit, name: string): string[] {
  return (unit.get(name) ?? []).flatMap((value) => value.split(" ")).filter((word) => word !== "");
}

async function out(host: Host, command: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await host.run(command, args);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
  return stdout;
}
