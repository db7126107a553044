/**
 * What happens, in which order: a list of acts, as data. A seed makes one, a text file holds one, and one that breaks an
 * invariant is cut down act by act. An act that is not possible when its turn comes (a message where there is none) is
 * nothing: so any part of a schedule is a schedule.
 */

import { type Dice, dice } from "../random.ts";

/** Acts of one node, and of the control plane. */
const nodeActs = [
  /** Opens a stream. */
  "connect",
  /** The next message arrives: at the server, at the node. */
  "up",
  "down",
  /** The server tells the stream of the newest head. */
  "tell",
  /** The server reads the snapshot that the stream waits for, and sends it. */
  "serve",
  /** What the agent is doing ends well. */
  "work",
  /** It fails: may pass, stays, or may pass with files begun. */
  "full",
  "refuse",
  "begun",
  /** The agent tries again. */
  "retry",
  "beat",
  /** The connection is lost with all that is on it; or only the node notices. */
  "cut",
  "half",
  /** The agent's process ends, and starts again from its memory; or its memory is damaged. */
  "crash",
  "wipe",
  "resync",
  "ban",
  "enrol",
] as const;
const planeActs = [
  /** Somebody changes something; the number says what. */
  "change",
  /** Seconds pass. */
  "pass",
  "restart",
  /** The database is copied; the copy takes its place; an operator opens an epoch. */
  "backup",
  "putback",
  "epoch",
] as const;

export type NodeAct = (typeof nodeActs)[number];
export type PlaneAct = (typeof planeActs)[number];
export type Act =
  | { readonly act: NodeAct; readonly node: number }
  | { readonly act: PlaneAct; readonly number: number };

/** How many nodes there are. */
export const nodes = 3;

/** How often each comes, by weight: what moves things on comes most. */
const weights: Readonly<Record<NodeAct | PlaneAct, number>> = {
  connect: 12,
  up: 28,
  down: 28,
  tell: 12,
  serve: 8,
  work: 14,
  full: 3,
  refuse: 6,
  begun: 3,
  retry: 4,
  beat: 3,
  cut: 6,
  half: 2,
  crash: 2,
  wipe: 0.4,
  resync: 1,
  ban: 0.4,
  enrol: 0.6,
  change: 8,
  pass: 3,
  restart: 0.8,
  backup: 1.2,
  putback: 1.2,
  epoch: 0.8,
};

const bag = Object.entries(weights).flatMap(([act, weight]) => Array<string>(Math.ceil(weight * 5)).fill(act));

const ofNodes = bag.filter(isNodeAct);

/**
 * The schedule of a seed: stretches, of which some are about one node, and some are quiet, with nothing written. What takes
 * many acts of one node at one head would else never come together.
 */
export function generate(seed: number): Act[] {
  const chance = dice(seed);
  const schedule: Act[] = [];
  for (let stretches = 2 + chance.roll(5); stretches > 0; stretches--) {
    const one = chance.roll(2) === 0 ? chance.roll(nodes) : undefined;
    const acts = chance.roll(2) === 0 ? ofNodes : bag;
    for (let left = 10 + chance.roll(50); left > 0; left--) {
      const act = chance.pick(acts);
      if (isNodeAct(act)) schedule.push({ act, node: one ?? chance.roll(nodes) });
      else schedule.push({ act: act as PlaneAct, number: chance.roll(1_000_000) });
    }
  }
  if (chance.roll(4) === 0) restoreInto(schedule, chance);
  return schedule;
}

/** A backup somewhere, put back later, after which the log may outgrow what nodes hold. */
function restoreInto(schedule: Act[], chance: Dice): void {
  const taken = chance.roll(schedule.length);
  const back = taken + chance.roll(schedule.length - taken);
  const changes = Array.from({ length: chance.roll(8) }, () => changeOf(chance));
  schedule.splice(back, 0, { act: "putback", number: 0 }, ...changes);
  schedule.splice(taken, 0, { act: "backup", number: 0 }, changeOf(chance));
}

function changeOf(chance: Dice): Act {
  return { act: "change", number: chance.roll(1_000_000) };
}

/** One act a line: `work n1`, `change 17`. */
export function print(schedule: readonly Act[]): string {
  return schedule.map((act) => ("node" in act ? `${act.act} n${act.node}` : `${act.act} ${act.number}`)).join("\n");
}

/** Reads a schedule back; `#` begins a comment. @throws Error with the line. */
export function parse(text: string): Act[] {
  const lines = text.split("\n").map((line) => line.replace(/#.*/, "").trim());
  return lines.filter((line) => line !== "").map(parseAct);
}

function parseAct(line: string): Act {
  const [, act = "", node, number] = /^([a-z]+) (?:n([0-9]+)|([0-9]+))$/.exec(line) ?? [];
  if (node !== undefined && isNodeAct(act)) return { act, node: Number(node) };
  if (number !== undefined && isPlaneAct(act)) return { act, number: Number(number) };
  throw new Error(`not an act: ${line}`);
}

function isNodeAct(act: string): act is NodeAct {
  return (nodeActs as readonly string[]).includes(act);
}

function isPlaneAct(act: string): act is PlaneAct {
  return (planeActs as readonly string[]).includes(act);
}
