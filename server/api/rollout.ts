/** RolloutService: how a change stands on every node, once or for as long as it takes. */

import { setTimeout as sleep } from "node:timers/promises";
import { equals } from "@bufbuild/protobuf";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import {
  RevisionSchema,
  type Rollout,
  Rollout_State,
  RolloutSchema,
  type RolloutService,
  SinkBehindSchema,
} from "../../proto/gen/rollcall/v1/rollout_pb.ts";
import { printTime } from "../../proto/wire.ts";
import type { Context } from "../directory/context.ts";
import { getRevision, listRevisions } from "../directory/revisions.ts";
import type { Fleet } from "../rollout/fleet.ts";
import { rollout } from "../rollout/rollout.ts";
import { message, orDefault } from "./field.ts";
import { printNode, printSink } from "./node.ts";
import { paged } from "./page.ts";

const states = {
  complete: Rollout_State.COMPLETE,
  progressing: Rollout_State.PROGRESSING,
  degraded: Rollout_State.DEGRADED,
} as const;

/** At most this many nodes are named in one answer. */
const mostNamed = 100;

/** A watcher is told at most this often, in milliseconds: ten thousand acks are not ten thousand messages. */
const breath = 100;

/** Between two looks of a watcher pass at least so many times what a look took: a large fleet's takes a while. */
const rests = 20;

export function rolloutService(
  ctx: Context,
  fleet: Fleet,
  trusted: () => readonly string[],
): ServiceImpl<typeof RolloutService> {
  /** How a revision stands. Only the head and the nodes can change from one look to the next. */
  const look = async (cluster: string, revision: bigint | undefined): Promise<Rollout> => {
    const { clusterId, epoch, head, record } = await getRevision(ctx, cluster, revision);
    const { state, acked, nodes, waitingFor, behind, summary } = rollout(epoch, record.revision, fleet.each(clusterId));
    const now = ctx.now();
    return message(RolloutSchema, {
      cluster,
      revision: record.revision,
      head,
      committedAt: printTime(record.committedAt),
      cause: record.cause,
      state: states[state],
      acked,
      nodes,
      summary,
      waitingFor: waitingFor.slice(0, mostNamed).map((status) => printNode(status, cluster, trusted(), now)),
      behind: behind
        .slice(0, mostNamed)
        .map(({ node, sink }) => message(SinkBehindSchema, { node, sink: printSink(sink) })),
    });
  };
  return {
    async getRollout({ cluster, revision }) {
      return { rollout: await look(orDefault(cluster), revision === 0n ? undefined : revision) };
    },
    async *watchRollout(request, { signal }) {
      const cluster = orDefault(request.cluster);
      // Listening before looking: what changes in between rings, and is seen in the next turn.
      using bell = new Bell(fleet, signal);
      let told = await look(cluster, request.revision === 0n ? undefined : request.revision);
      yield { rollout: told };
      for (let took = 0; told.state !== Rollout_State.COMPLETE; ) {
        await pause(Math.max(breath, took * rests), signal);
        await bell.rung();
        if (signal.aborted) throw endOf(signal);
        const from = performance.now();
        const next = await look(cluster, told.revision);
        took = performance.now() - from;
        if (equals(RolloutSchema, withoutAges(next), withoutAges(told))) continue;
        told = next;
        yield { rollout: told };
      }
    },
    async listRevisions(request) {
      const { items, nextPageToken } = await paged(request, (page) =>
        listRevisions(ctx, orDefault(request.cluster), page),
      );
      const revisions = items.map(({ revision, committedAt, cause, puts, removals }) =>
        message(RevisionSchema, { revision, committedAt: printTime(committedAt), cause, puts, removals }),
      );
      return { revisions, nextPageToken };
    },
  };
}

/** Heartbeats are no news: they move only these. */
function withoutAges(seen: Rollout): Rollout {
  return { ...seen, waitingFor: seen.waitingFor.map(({ age: _age, seenAt: _seenAt, ...node }) => node) };
}

/** Why a watch ends early, for a client that is still there: its own deadline, or our stopping. */
function endOf({ reason }: AbortSignal): ConnectError {
  return reason instanceof ConnectError ? reason : new ConnectError("the server is stopping", Code.Unavailable);
}

/** Tells one waiter that something changed since it last asked; any number of changes ring once. */
class Bell implements Disposable {
  readonly #subscription: Disposable;
  readonly #signal: AbortSignal;
  readonly #ring = (): void => {
    this.#rings = true;
    this.#wake?.();
  };
  #rings = false;
  #wake: (() => void) | undefined;

  constructor(fleet: Fleet, signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener("abort", this.#ring);
    this.#subscription = fleet.onChange(this.#ring);
  }

  /** Resolves once anything changed, or the call was cancelled. */
  async rung(): Promise<void> {
    if (!this.#rings && !this.#signal.aborted) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#rings = false;
  }

  [Symbol.dispose](): void {
    this.#signal.removeEventListener("abort", this.#ring);
    this.#subscription[Symbol.dispose]();
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  // Cancelled is as good as over: whoever waits looks at the signal next.
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
