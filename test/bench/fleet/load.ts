/** A process full of light agents, or of bare TLS sockets for the floor; told what to do over IPC. */

import { readFileSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { createSecureContext, type TLSSocket } from "node:tls";
import { dial, LightAgent, type Target } from "./light-agent.ts";

export type Order =
  | { readonly kind: "connect"; readonly target: Target }
  /** Bare TLS sockets, which answer each message by so many bytes. */
  | { readonly kind: "floor"; readonly target: Target; readonly message: number; readonly answer: number }
  | { readonly kind: "leave floor" }
  /** Tells of each agent when it acknowledged a revision or a newer one. */
  | { readonly kind: "times"; readonly revision: number }
  | { readonly kind: "floor times" }
  | { readonly kind: "counts" };

export type Report =
  | { readonly kind: "ready" }
  | { readonly kind: "connected"; readonly at: number }
  | { readonly kind: "times"; readonly times: readonly number[] }
  | {
      readonly kind: "counts";
      readonly live: number;
      readonly snapshots: number;
      readonly closed: Record<string, number>;
    };

const [credentials = ""] = process.argv.slice(2);
const { ca, key, chains } = JSON.parse(readFileSync(credentials, "utf8")) as {
  ca: string;
  key: string;
  chains: string[];
};
const now = (): number => performance.timeOrigin + performance.now();
const report = (message: Report): void => {
  process.send?.(message);
};

/** Places in an agent's short memory of what it acknowledged when. */
const remembered = 16;
/** Connections that are being made at once: a fleet comes in the order in which its handshakes get done. */
const handshakesAtOnce = 200;

class Remembering {
  readonly agent: LightAgent;
  readonly #revisions = new Float64Array(remembered);
  readonly #times = new Float64Array(remembered);
  #next = 0;
  live = false;
  snapshots = 0;
  awaited: ((value?: unknown) => void) | undefined;

  constructor(chain: string, target: () => Target) {
    this.agent = new LightAgent(createSecureContext({ ca, key, cert: chain, minVersion: "TLSv1.3" }), {
      welcomed: () => {
        this.live = true;
        this.awaited?.();
      },
      snapshot: () => {
        this.snapshots += 1;
      },
      acked: (revision) => {
        this.#revisions[this.#next % remembered] = revision;
        this.#times[this.#next % remembered] = now();
        this.#next += 1;
        waiting?.();
      },
      closed: (why) => {
        this.live = false;
        closed[why] = (closed[why] ?? 0) + 1;
        // As agents do, but sooner, since all of them are waited for.
        setTimeout(() => this.agent.connect(target()), 100 + Math.random() * 900);
      },
    });
  }

  /** When it first held a revision or a newer one; undefined: not yet. */
  since(revision: number): number | undefined {
    let first: number | undefined;
    for (let i = 0; i < remembered; i++) {
      const at = this.#times[i] ?? 0;
      if ((this.#revisions[i] ?? 0) >= revision && at > 0 && (first === undefined || at < first)) first = at;
    }
    return first;
  }
}

let target: Target = { host: "127.0.0.1", port: 0 };
let waiting: (() => void) | undefined;
let closed: Record<string, number> = {};
let agents: Remembering[] = [];
let floor: { socket: TLSSocket; at: number }[] = [];

async function eachConnected(count: number, open: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const lanes = Array.from({ length: handshakesAtOnce }, async () => {
    while (next < count) await open(next++);
  });
  await Promise.all(lanes);
}

process.on("message", (order: Order) => {
  void obey(order);
});

async function obey(order: Order): Promise<void> {
  switch (order.kind) {
    case "connect":
      target = order.target;
      for (const each of agents) each.agent.end();
      closed = {};
      if (agents.length === 0) agents = chains.map((chain) => new Remembering(chain, () => target));
      await eachConnected(agents.length, async (n) => {
        const each = agents[n];
        if (!each) return;
        each.live = false;
        const live = new Promise((resolve) => (each.awaited = resolve));
        each.agent.connect(target);
        await live;
      });
      return report({ kind: "connected", at: now() });
    case "floor": {
      const answer = Buffer.alloc(order.answer, 1);
      await eachConnected(chains.length, async (n) => {
        const secureContext = createSecureContext({ ca, key, cert: chains[n] ?? "", minVersion: "TLSv1.3" });
        await new Promise<void>((resolve) => {
          let heard = 0;
          const hear = (bytes: Buffer): void => {
            // The server says one byte once it has read the client's certificate: then the handshake is over on both sides.
            if (heard === 0) resolve();
            heard += bytes.length;
            if ((heard - 1) % order.message !== 0 || heard === 1) return;
            socket.write(answer);
            one.at = now();
            waiting?.();
          };
          const socket = dial({ ...order.target, secureContext }, hear);
          const one = { socket, at: 0 };
          floor.push(one);
          socket.on("error", () => {});
        });
      });
      return report({ kind: "connected", at: now() });
    }
    case "leave floor":
      for (const { socket } of floor) socket.destroy();
      floor = [];
      return report({ kind: "ready" });
    case "times":
      return report({ kind: "times", times: await all(agents, (each) => each.since(order.revision)) });
    case "floor times": {
      const times = await all(floor, ({ at }) => at || undefined);
      for (const one of floor) one.at = 0;
      return report({ kind: "times", times });
    }
    case "counts": {
      const live = agents.filter((each) => each.live).length;
      const snapshots = agents.reduce((sum, each) => sum + each.snapshots, 0);
      return report({ kind: "counts", live, snapshots, closed });
    }
  }
}

/** A time of each, once each has one. */
async function all<T>(of: readonly T[], timeOf: (one: T) => number | undefined): Promise<number[]> {
  for (let from = 0; from < of.length; ) {
    const one = of[from];
    if (one && timeOf(one) !== undefined) from += 1;
    else await new Promise<void>((resolve) => (waiting = resolve));
  }
  waiting = undefined;
  return of.map((one) => timeOf(one) ?? 0);
}

// Every agent says that it is alive once in five seconds, and not all in one turn; also while this process is busy.
const beats = 50;
const every = 5000 / beats;
let beaten = Math.floor(now() / every);
setInterval(() => {
  const due = Math.floor(now() / every);
  const first = Math.max(beaten + 1, due - beats + 1);
  beaten = due;
  void (async () => {
    for (let beat = first, count = 0; beat <= due; beat++) {
      for (let n = beat % beats; n < agents.length; n += beats) {
        if (agents[n]?.live) agents[n]?.agent.heartbeat();
        if (++count % 100 === 0) await nextTurn();
      }
    }
  })();
}, every);

report({ kind: "ready" });
