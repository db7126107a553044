/**
 * Keeps what is known of the agent in one place, and writes it down: soon after it changes, and every minute, so that readers
 * see that somebody is there. Nothing waits for it, and nothing fails with it.
 */

import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import type { Logger } from "pino";
import {
  ComparisonSchema,
  DifferenceSchema,
  type NodeReport,
  NodeReportSchema,
} from "../proto/gen/rollcall/v1/node_pb.ts";
import { printTime } from "../proto/wire.ts";
import type { Clock } from "./clock.ts";
import type { Comparison } from "./compare/comparer.ts";
import type { Disk } from "./disk.ts";
import type { Lease, MachineClock } from "./lease.ts";
import { momentOf } from "./lease.ts";
import type { Gate } from "./policy/gate.ts";
import type { Replica } from "./replica.ts";
import { mostLingering, type TrailingSink } from "./sink.ts";
import {
  isolatedIn,
  type Link,
  policyIn,
  positionIn,
  type Refusal,
  type Run,
  type Status,
  type Trailing,
  writeStatus,
  writtenEvery,
} from "./status.ts";
import { type Drift, noDrift } from "./watch.ts";

/** What follow.ts sees of the server and of steps. */
export type Observed =
  | { readonly kind: "connected"; readonly mode: string }
  /** Anything that the server said, or that the connection to it still stands. */
  | { readonly kind: "heard" }
  | { readonly kind: "disconnected"; readonly because: string }
  | { readonly kind: "applied" }
  | { readonly kind: "refused"; readonly refusal: Omit<Refusal, "at"> };

export interface ReporterOptions {
  readonly disk: Disk;
  /** The state folder. */
  readonly state: string;
  readonly clock: Clock & MachineClock;
  readonly log: Pick<Logger, "warn">;
  readonly replica: Pick<Replica, "at" | "reports">;
  readonly gate: Pick<Gate, "policy" | "isWithdrawn">;
  readonly lease: Lease;
  readonly run: Run;
  readonly software: string;
  readonly node: string;
  readonly server: string;
  readonly comparing: boolean;
}

/** What changes within this time is written once, in milliseconds. */
const pause = 500;

export class Reporter {
  readonly #options: ReporterOptions;
  #link: Link;
  #refusal: Refusal | undefined;
  #drift: Drift = noDrift;
  #comparison: Comparison | undefined;
  #report: NodeReport | undefined;
  /** When the certificate ends, milliseconds since 1970. */
  #certificate: number | undefined;
  #trailing: readonly TrailingSink[] = [];
  /** By sink: the reason that it gives, and since when. */
  readonly #reasons = new Map<string, { readonly reason: string; readonly since: number }>();
  #bell = new AbortController();
  #isNews = true;
  #isFailing = false;

  constructor(options: ReporterOptions) {
    this.#options = options;
    this.#link = { state: "not connected", since: options.clock.now(), because: "the agent has just started" };
  }

  on(event: Observed): void {
    const { clock, lease } = this.#options;
    switch (event.kind) {
      case "connected":
        lease.renew();
        this.#link = { state: "connected", since: clock.now(), mode: event.mode };
        return this.#ring();
      case "heard":
        return lease.renew();
      case "disconnected":
        if (this.#link.state === "connected") this.#link = { ...event, state: "not connected", since: clock.now() };
        else this.#link = { ...this.#link, because: event.because };
        return this.#ring();
      case "applied":
        this.#refusal = undefined;
        return this.#ring();
      case "refused":
        this.#refusal = { ...event.refusal, at: clock.now() };
        return this.#ring();
    }
  }

  /** What is told the server of the node; another object whenever it changed. */
  get report(): NodeReport {
    const { count, lastAt, files, strays, faults } = this.#drift;
    this.#report ??= create(NodeReportSchema, {
      drift: { count, lastAt: printTime(lastAt), files: [...files], strays: [...strays] },
      faults: [...faults],
      ...(this.#comparison && { comparison: printComparison(this.#comparison) }),
    });
    return this.#report;
  }

  drifted(drift: Drift): void {
    this.#drift = drift;
    this.#report = undefined;
    this.#ring();
  }

  compared(found: Comparison): void {
    this.#comparison = found;
    this.#report = undefined;
    this.#ring();
  }

  certified(until: number): void {
    this.#certificate = until;
    this.#ring();
  }

  /** Keeps an eye on a sink of its own pace. */
  trails(sink: TrailingSink): void {
    this.#trailing = [...this.#trailing, sink];
    sink.onChange(() => this.#ring());
    this.#ring();
  }

  /** Writes until the signal, and then once more that the agent has stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    const ring = (): void => this.#bell.abort();
    signal.addEventListener("abort", ring);
    while (!signal.aborted) {
      await this.#write(false);
      if (!this.#isNews) await clock.sleep(writtenEvery, this.#bell.signal);
      this.#bell = new AbortController();
      await clock.sleep(pause, signal);
    }
    signal.removeEventListener("abort", ring);
    await this.#write(true);
  }

  status(stopped: boolean): Status {
    const { clock, comparing, gate, lease, node, replica, run, server, software } = this.#options;
    return {
      format: 1,
      software,
      node,
      server,
      comparing,
      ...(this.#comparison && { comparison: this.#comparison }),
      run,
      written: momentOf(clock),
      stopped,
      position: positionIn(replica.at),
      link: this.#link,
      ...(lease.heard && { heard: lease.heard }),
      silent_from: lease.from,
      ...(this.#refusal && { refusal: this.#refusal }),
      isolated: isolatedIn(replica.reports),
      sinks: this.#sinks(),
      drift: this.#drift,
      policy: policyIn(gate.policy),
      sudo_withdrawn: gate.isWithdrawn,
      ...(this.#certificate !== undefined && { certificate_expires: this.#certificate }),
    };
  }

  #sinks(): Trailing[] {
    return this.#trailing.flatMap(({ health }) => {
      if (!health) return [];
      const { sink, revision, reason, lingering } = health;
      if (this.#reasons.get(sink)?.reason !== reason) {
        this.#reasons.set(sink, { reason, since: this.#options.clock.now() });
      }
      const since = this.#reasons.get(sink)?.since;
      return [
        {
          ...{ sink, revision: String(revision), reason, lingering: lingering.slice(0, mostLingering) },
          ...(reason !== "" && since !== undefined && { since }),
        },
      ];
    });
  }

  #ring(): void {
    this.#isNews = true;
    this.#bell.abort();
  }

  async #write(stopped: boolean): Promise<void> {
    const { disk, log, state } = this.#options;
    this.#isNews = false;
    try {
      await writeStatus(disk, state, this.status(stopped));
      this.#isFailing = false;
    } catch (err) {
      if (!this.#isFailing) log.warn({ err }, "the status could not be written");
      this.#isFailing = true;
    }
  }
}

function printComparison({ at, revision, differences, ...counts }: Comparison) {
  return create(ComparisonSchema, {
    ...counts,
    at: timestampFromMs(at),
    revision: BigInt(revision),
    differences: differences.map((each) => create(DifferenceSchema, each)),
  });
}
