/** What one change costs a node that holds many users, all files verified and durable, against rendering everything anew. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { apply, type Ground, start } from "../../agent/apply.ts";
import { realDisk } from "../../agent/disk.ts";
import { firstStep, key, member, person, team } from "../../agent/sample.ts";
import { nssSink } from "../../agent/sinks/nss/sink.ts";
import { sshSink } from "../../agent/sinks/ssh.ts";
import { prepare, type Step } from "../../identity/copy.ts";
import { shift } from "../../identity/digest.ts";
import { keyOf, type Resource } from "../../identity/resource.ts";

export interface ApplyFigures {
  readonly users: number;
  readonly anewMs: number;
  readonly changes: readonly {
    readonly what: string;
    readonly ms: number;
    readonly cpu: number;
    readonly ratio: number;
  }[];
}

export async function applyOne(users: number, say: (text: string) => void): Promise<ApplyFigures> {
  const people = Array.from({ length: users }, (_, n) => person(n));
  const base: Resource[] = [...people, team(1), ...people.slice(0, 100).map((_, n) => member(1, n))];
  const anew: number[] = [];
  for (let round = 0; round < 2; round++) {
    await using node = await emptyNode();
    say(`everything anew: ${users} users, round ${round + 1} of 2`);
    anew.push(await timed(() => apply(node.ground, firstStep(base))));
  }
  await using node = await emptyNode();
  await apply(node.ground, firstStep(base));
  const anewMs = Math.min(...anew);
  const changes: [string, (round: number) => Resource[]][] = [
    ["a user's gecos", (round) => [person(round, { gecos: `changed ${round}` })]],
    ["a new user", (round) => [person(users + round)]],
    ["a new member of a group", (round) => [member(1, 200 + round)]],
    ["a new key", (round) => [key(round, 1)]],
  ];
  const figures = [];
  for (const [what, edit] of changes) {
    say(what);
    const taken: number[] = [];
    const spent: number[] = [];
    for (let round = 0; round < 20; round++) {
      const step = putting(node.ground, edit(round));
      const before = process.cpuUsage();
      taken.push(await timed(() => apply(node.ground, step)));
      const { user, system } = process.cpuUsage(before);
      spent.push((user + system) / 1000);
    }
    figures.push({ what, ms: median(taken), cpu: median(spent), ratio: anewMs / median(taken) });
  }
  return { users, anewMs, changes: figures };
}

/** The step that puts some resources on top of what a node holds. */
function putting({ memory }: Ground, puts: readonly Resource[]): Step {
  const { at, resources } = memory.copy;
  const went = puts.flatMap((put) => resources.get(keyOf(put)) ?? []);
  const to = { ...at, revision: at.revision + 1n, digest: shift(at.digest, puts, went) };
  return prepare(memory.copy, { from: at, to, puts, removals: [] });
}

async function emptyNode() {
  const folder = await mkdtemp(join(tmpdir(), "rollcall-bench-"));
  const { ground } = await start({
    disk: realDisk,
    state: join(folder, "state"),
    sinks: (disk, served) => [nssSink(disk, served), sshSink(disk, served)],
    gids: new Map(),
  });
  return { ground, [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
}

/** Milliseconds that some work takes. */
async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

export function median(figures: readonly number[]): number {
  return [...figures].sort((a, b) => a - b)[figures.length >> 1] ?? Number.NaN;
}
