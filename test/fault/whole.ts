/** The two states between which nothing may be served: a folder at each, on a test host, and what is in them. */

import { readdirSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { apply } from "../../agent/apply.ts";
import { origin, type Position, samePosition } from "../../identity/position.ts";
import { print } from "../../identity/resource.ts";
import type { Host } from "../lab/host.ts";
import { Applier, type Call, content } from "./applier.ts";
import { openGround, stepTo } from "./ground.ts";
import { after, before, changed, expectSafe, type Files, filesIn, meaningOf, safeOrder } from "./step.ts";

/** How it was, how it is to be, and the calls that lead from one to the other. */
export interface Whole {
  readonly made: readonly Call[];
  /** On which paths they are, relative to a state folder. */
  readonly paths: readonly string[];
  readonly old: { readonly at: Position; readonly files: Files };
  readonly fresh: { readonly at: Position; readonly files: Files };
}

const prepared = "/tmp/prepared";

/** Makes the folder at the old state, and has the step applied to a copy of it, undisturbed. */
export async function prepare(host: Host): Promise<Whole> {
  const outside = (path: string) => join(host.root, path);
  const { ground } = await openGround(outside(prepared));
  const { at: old } = await apply(ground, stepTo(ground.memory.copy, before));
  const oldFiles = filesIn(outside(prepared));
  await host.write(content, after.map((resource) => `${print(resource)}\n`).join(""));
  await using applier = await Applier.start(host);
  const state = await copyOf(host, "undisturbed");
  await applier.open(state);
  const trace = await applier.trace(state);
  const { ground: finished, repaired } = await openGround(outside(state));
  expect(repaired?.changed).toEqual([]);
  const files = filesIn(outside(state));
  expect(changed(oldFiles, files)).toEqual(safeOrder.flat().sort());
  return { ...trace, old: { at: old, files: oldFiles }, fresh: { at: finished.memory.at, files } };
}

/** A state folder at the old state, or as another is, by a name of its own; one that was there is replaced. */
export async function copyOf(host: Host, name: string, from = prepared): Promise<string> {
  const path = `/tmp/${name}`;
  const script = 'rm -rf "$2" && cp -a "$1" "$2"';
  expect(await host.run("sh", ["-c", script, "sh", from, path])).toMatchObject({ code: 0 });
  return path;
}

/**
 * What must be so wherever an apply ended: whole files in a safe order; and the next start knows where it is, serves all of one state, and
 * gets to the new one. Says which state it came back in.
 */
export async function expectWhole(where: string, state: string, { old, fresh }: Whole): Promise<"old" | "new"> {
  expectSafe(where, filesIn(state), old.files, fresh.files);
  const { ground, warning, repaired, fault } = await openGround(state);
  expect({ warning, fault, unfinished: ground.memory.unfinished }, where).toEqual({});
  expect(ground.memory.at, where).not.toEqual(origin);
  const outcome = samePosition(ground.memory.at, fresh.at) ? "new" : "old";
  expect(ground.memory.at, where).toEqual(outcome === "new" ? fresh.at : old.at);
  expect(repaired?.at, where).toEqual(ground.memory.at);
  expect(meaningOf(filesIn(state)), where).toEqual(meaningOf(outcome === "new" ? fresh.files : old.files));
  expect(readdirSync(join(state, "stage")), where).toEqual([]);
  if (outcome === "old") {
    await apply(ground, stepTo(ground.memory.copy, after));
    expect(ground.memory.at, where).toEqual(fresh.at);
    expect(meaningOf(filesIn(state)), where).toEqual(meaningOf(fresh.files));
  }
  return outcome;
}

/** Flags of strace that put a fault under some of the calls on a state folder. */
export function injecting(applier: Applier, state: string, { paths }: Whole, name: string, fault: string): string[] {
  const filter = paths.flatMap((path) => ["-P", join(state, path)]);
  const flags = ["-p", applier.thread, "-o", "/dev/null", ...filter];
  return [...flags, "-e", `trace=${name}`, "-e", `inject=${name}:${fault}`];
}
