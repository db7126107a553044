/**
 * Faults that others had (FACTS, "what the field's anchors got wrong"), put into our code one at a time: the simulator must
 * find each. Those that are not the protocol's have their tests elsewhere: docs/simulator.md says where each of the list is.
 */

import { expect, test } from "vitest";
import { nothing, shift } from "../../identity/digest.ts";
import { origin } from "../../identity/position.ts";
import { keyOf } from "../../identity/resource.ts";
import { type Parts, real } from "./parts.ts";
import { search } from "./shrink.ts";

type SessionStep = Parts["session"]["step"];
type AgentStep = Parts["agent"]["step"];

const seeds = Array.from({ length: 3000 }, (_, seed) => seed);

const session = (step: SessionStep): Parts => ({ ...real, session: { ...real.session, step } });
const agent = (step: AgentStep): Parts => ({ ...real, agent: { ...real.agent, step } });

/** A step to wherever is said, over whatever is held. */
const unchecked: Pick<Parts, "prepare" | "prepareSnapshot"> = {
  prepare: (copy, { to, puts, removals }) => ({
    from: copy.at,
    to,
    edits: [
      ...removals.map((key) => ({ key, before: copy.resources.get(key), after: undefined })),
      ...puts.map((after) => ({ key: keyOf(after), before: copy.resources.get(keyOf(after)), after })),
    ],
  }),
  prepareSnapshot(copy, to, resources) {
    const next = new Map([...resources].map((each) => [keyOf(each), each]));
    const gone = [...copy.resources].filter(([key]) => !next.has(key));
    const edits = [
      ...gone.map(([key, before]) => ({ key, before, after: undefined })),
      ...[...next].map(([key, after]) => ({ key, before: copy.resources.get(key), after })),
    ];
    return { from: copy.at, to, edits };
  },
};

const mutants: readonly [string, Parts, RegExp][] = [
  [
    "1: a nack is not looked at, and what was refused is sent again",
    session((before, event) =>
      event.kind === "nack" && !event.busy
        ? real.session.step({ ...before, sent: undefined }, { kind: "head", head: before.head, now: event.now })
        : real.session.step(before, event),
    ),
    /P3|alarmed/,
  ],
  [
    "2: every reconnect is a full push",
    session((before, event) => real.session.step(before, event.kind === "hello" ? { ...event, resync: true } : event)),
    /P7|S8/,
  ],
  [
    "4: after a restore, caches are given the backup",
    session((before, event) =>
      real.session.step(before, event.kind === "hello" ? { ...event, position: origin, known: false } : event),
    ),
    /S8|P7/,
  ],
  [
    "5: who is ahead of a server is taken for one of its own",
    session((before, event) => real.session.step(before, event.kind === "hello" ? { ...event, known: true } : event)),
    /./,
  ],
  [
    "7: a slow node gets a queue",
    session((before, event) =>
      real.session.step(event.kind === "head" && before.match ? { ...before, sent: undefined } : before, event),
    ),
    /P1/,
  ],
  [
    "8: the mark moves when something is sent, not when it is held",
    session((before, event) => {
      const [after, effects] = real.session.step(before, event);
      const sent = effects.find(({ kind }) => kind === "send-delta");
      return [sent?.kind === "send-delta" ? { ...after, match: sent.to } : after, effects];
    }),
    /P2|alarmed/,
  ],
  ["11: a banned node keeps its open stream", { ...real, endsBanned: false }, /P11/],
  ["12: an error becomes an empty answer", { ...real, ...unchecked, readsSnapshots: false }, /P6/],
  [
    "15: an update removes nobody",
    {
      ...real,
      commit: (copy, step) => real.commit(copy, { ...step, edits: step.edits.filter(({ after }) => after) }),
    },
    /P6/,
  ],
  ["16: a nack is a line in a log", { ...real, remembersRefusals: false }, /P3/],
  [
    "the digest is what the server says, not what is held",
    {
      ...real,
      prepareSnapshot: (copy, to, resources) => {
        const all = [...resources].slice(1);
        const step = unchecked.prepareSnapshot(copy, to, all);
        return { ...step, to: { ...to, digest: all.length > 0 ? to.digest : shift(nothing, all, []) } };
      },
    },
    /P6|P5/,
  ],
  [
    "an ack before it is durable",
    agent((before, event) => {
      const [after, effects] = real.agent.step(before, event);
      const early = event.kind === "delta" && after.work.kind === "applying" ? after.work.to : undefined;
      const ack = early && ({ kind: "say-ack", at: early, reports: [], took: 0 } as const);
      return [after, ack ? [...effects, ack] : effects];
    }),
    /P2|P8|alarmed/,
  ],
  [
    "what healed over a later stream is acked there",
    agent((before, event) => {
      const [after, effects] = real.agent.step({ ...before, owesHello: undefined }, event);
      return [{ ...after, owesHello: undefined }, effects];
    }),
    /alarmed|S1/,
  ],
  [
    "what is stuck is not tried again",
    agent((before, event) => {
      const [after, effects] = real.agent.step(before, event);
      return [after, effects.filter(({ kind }) => kind !== "retry-later")];
    }),
    /S1/,
  ],
  [
    "a refused first snapshot is the last word",
    session((before, event) =>
      event.kind === "head" && !before.match && before.refused.length > 0 && !before.ahead && !before.fenced
        ? [{ ...before, head: event.head }, []]
        : real.session.step(before, event),
    ),
    /S1/,
  ],
  [
    "a head is acted on before the Hello is judged",
    session((before, event) =>
      real.session.step(event.kind === "head" ? { ...before, isGreeted: true } : before, event),
    ),
    /P7|S8|P3|S1|alarmed/,
  ],
  [
    "a delta leads from one epoch into another",
    session((before, event) =>
      real.session.step(
        event.kind === "head" && before.match && !before.ahead && !before.fenced
          ? { ...before, head: { ...before.head, epoch: event.head.epoch } }
          : before,
        event,
      ),
    ),
    /P5/,
  ],
];

test.each(mutants)("%s", (_, parts, why) => {
  const found = search(seeds, parts);
  expect(found?.why).toMatch(why);
});
