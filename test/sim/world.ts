/**
 * A control plane, its nodes and the network between them, moved by one schedule. After each act what must always hold is
 * checked; at the end the faults stop, and everybody must hold the head.
 *
 * What is real: the session machine, the agent machine, positions, digests, deltas, copies. What is a model: the log's store,
 * the network, the disks, the ledger's memory (each as its own tests pin it).
 */

import { samePosition } from "../../identity/position.ts";
import type { Link } from "./link.ts";
import { linesOf, nameOf } from "./log.ts";
import { Node } from "./node.ts";
import type { Parts } from "./parts.ts";
import { newEntry, Plane } from "./plane.ts";
import { type Act, type NodeAct, nodes, type PlaneAct } from "./schedule.ts";

/** An invariant that did not hold. */
export class Breach extends Error {}

/** How many rounds the world gets to settle once faults have stopped. */
const longestSettling = 400;

/** Plays a schedule to its end. @throws Breach, with the invariant and the act after which it did not hold. */
export function play(schedule: readonly Act[], parts: Parts): void {
  const world = new World(parts);
  for (const [place, act] of schedule.entries()) {
    try {
      world.act(act);
      world.check();
    } catch (err) {
      if (err instanceof Breach) throw new Breach(`${err.message}, at act ${place + 1}`);
      throw err;
    }
  }
  world.settle();
}

class World {
  readonly #parts: Parts;
  readonly #plane: Plane;
  readonly #nodes: readonly Node[];
  /** Where each node was at the last check. */
  readonly #before: (Node["at"] | undefined)[] = [];

  constructor(parts: Parts) {
    this.#plane = new Plane(parts, nodes, (what) => {
      throw new Breach(what);
    });
    this.#nodes = Array.from({ length: nodes }, () => new Node(parts));
    this.#parts = parts;
  }

  act(act: Act): void {
    if ("node" in act) this.#ofNode(act.act, act.node);
    else this.#ofPlane(act.act, act.number);
    this.#noticeEnds();
  }

  #ofNode(act: NodeAct, number: number): void {
    const plane = this.#plane;
    const node = this.#node(number);
    const { claim } = plane.entry(number);
    switch (act) {
      case "connect":
        return this.#connect(number);
      case "up":
        return claim && plane.hear(claim);
      case "down":
        return node.link && node.hear(node.link);
      case "tell":
        return claim && plane.tell(claim);
      case "serve":
        return claim && plane.serve(claim);
      case "work":
      case "full":
      case "refuse":
      case "begun":
        return node.work(act);
      case "retry":
        return node.retry();
      case "beat":
        return node.on({ kind: "beat" });
      case "cut":
        if (claim) plane.end(claim);
        return;
      case "half":
        if (node.link) node.link.atNode = false;
        return;
      case "crash":
      case "wipe":
        if (node.link) node.link.atNode = false;
        if (act === "crash") return node.crash();
        node.wipe();
        this.#before[number] = undefined;
        return;
      case "resync":
        plane.entry(number).wantsResync = true;
        return claim && plane.on(claim, { kind: "resync", now: plane.now });
      case "ban":
        plane.entry(number).isBanned = true;
        if (claim && this.#parts.endsBanned) plane.end(claim);
        return;
      case "enrol":
        if (claim) plane.end(claim);
        plane.entries[number] = newEntry();
        return;
    }
  }

  #ofPlane(act: PlaneAct, number: number): void {
    const plane = this.#plane;
    switch (act) {
      case "change":
        plane.log.change(number);
        return;
      case "pass":
        plane.now += 1_000 + (number % 8_000);
        for (const { claim } of plane.entries) if (claim) plane.on(claim, { kind: "tick", now: plane.now });
        return;
      case "restart":
        plane.endAll();
        return;
      case "backup":
        plane.log.backup();
        return;
      case "putback":
        if (!plane.log.putBack()) return;
        plane.endAll();
        plane.wasSetBack = true;
        plane.isFenced = false;
        for (const entry of plane.entries) Object.assign(entry, { refusal: undefined, wantsResync: false });
        for (const entry of plane.entries) entry.refused.clear();
        return;
      case "epoch": {
        const seen = this.#nodes.map(({ at }) => at.epoch.seq);
        plane.log.openEpoch([plane.log.head.epoch.seq, ...seen].reduce((a, b) => (a > b ? a : b)));
        plane.isFenced = false;
        return;
      }
    }
  }

  #connect(number: number): void {
    const node = this.#node(number);
    if (node.link) return;
    const link = this.#plane.admit(number, node.instance);
    if (link) node.connect(link);
  }

  /**
   * A node learns at once that the other end is gone, unless only it believed so: those are `half`. The server notices when
   * it next looks, or when the node comes back.
   */
  #noticeEnds(): void {
    for (const node of this.#nodes) {
      const { link } = node;
      if (link && (!link.atServer || !link.atNode)) node.disconnected();
    }
  }

  check(): void {
    for (const [number, node] of this.#nodes.entries()) {
      const { at, copy } = node;
      const holds = this.#plane.log.holds(at);
      if (holds === undefined) throw new Breach(`P5: n${number} is at a position that nobody wrote`);
      if (linesOf(copy.resources.values()) !== holds)
        throw new Breach(`P6: n${number} does not hold what its position says`);
      this.#checkMove(number, node);
      const { claim, acked } = this.#plane.entry(number);
      const { match } = claim?.session ?? {};
      if (match && !node.held.has(nameOf(match)) && claim?.instance === node.instance) {
        throw new Breach(`P2: n${number} is believed to hold what it never did`);
      }
      if (acked && claim?.session.isGreeted && claim.instance === node.instance && !node.held.has(nameOf(acked))) {
        throw new Breach(`P8: n${number} is shown with what it never held`);
      }
    }
  }

  #checkMove(number: number, { at }: Node): void {
    const before = this.#before[number];
    this.#before[number] = at;
    if (!before || samePosition(before, at)) return;
    if (at.epoch.seq < before.epoch.seq) throw new Breach(`P4: n${number} went back to an earlier epoch`);
    if (at.epoch.seq > before.epoch.seq) return;
    if (at.revision < before.revision) throw new Breach(`P4: n${number} went back inside an epoch`);
    const { log } = this.#plane;
    const isAnotherLife = log.has(at) && !log.has(before);
    if (isAnotherLife && !this.#plane.entry(number).wantsResync) {
      throw new Breach(`S8: n${number} was given a backup in place of what it held`);
    }
  }

  /** The faults stop: within some rounds every node that is not banned holds the head. */
  settle(): void {
    const plane = this.#plane;
    // What a node refused for good is not sent again: something new is.
    plane.log.change(1);
    for (let round = 0; round < longestSettling; round++) {
      if (plane.isFenced || plane.entries.some(({ isAhead, isBanned }) => isAhead && !isBanned)) {
        this.#ofPlane("epoch", 0);
        for (const entry of plane.entries) entry.isAhead = false;
      }
      for (let number = 0; number < nodes; number++) {
        for (const act of ["connect", "up", "down", "tell", "serve", "work", "retry"] as const) {
          this.#ofNode(act, number);
          this.#noticeEnds();
        }
      }
      this.check();
      if (round % 20 === 19) this.#live();
      if (this.#isSettled()) return;
    }
    throw new Breach("S1: not every node holds the head, though nothing fails any more");
  }

  /** Time passes as on a quiet day: who is there says so. */
  #live(): void {
    this.#plane.now += 5_000;
    for (const { claim } of this.#plane.entries) {
      if (!claim) continue;
      if (claim.atNode) claim.session = { ...claim.session, heardAt: this.#plane.now };
      this.#plane.on(claim, { kind: "tick", now: this.#plane.now });
    }
    this.#noticeEnds();
  }

  #isSettled(): boolean {
    const { head } = this.#plane.log;
    return this.#plane.entries.every((entry, number) => {
      const isThere = samePosition(this.#node(number).at, head) && isIdle(entry.claim);
      return entry.isBanned || (isThere && entry.acked !== undefined && samePosition(entry.acked, head));
    });
  }

  #node(number: number): Node {
    const node = this.#nodes[number];
    if (!node) throw new Error(`no node ${number}`);
    return node;
  }
}

function isIdle(link: Link | undefined): boolean {
  return link !== undefined && link.up.length === 0 && link.down.length === 0 && !link.session.sent;
}
