/** When a node renews, by a clock of the test's: at half its certificate's life with jitter, or when it is asked to. */

import { execFileSync } from "node:child_process";
import { pino } from "pino";
import { expect, test, vi } from "vitest";
import type { Clock } from "./clock.ts";
import { foldersIn } from "./folders.ts";
import { Membership } from "./membership.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import type { Trust } from "./trust.ts";
import type { Uplink } from "./uplink.ts";

const folders = foldersIn("/state");
const hour = 3_600_000;
const life = { from: 0, to: 24 * hour };

/** A key, and a certificate of it: what a renewal brings is the same again. */
const { keyPem, chainPem } = (() => {
  const args = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=node", "-days", "1"];
  const text = execFileSync("openssl", ["req", "-x509", ...args, "-keyout", "-"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const [keyPem = "", chainPem = ""] = text.toString().match(/-----BEGIN[^]*?-----END [A-Z ]+-----\n/g) ?? [];
  return { keyPem, chainPem };
})();

/** A node whose clock jumps from sleep to sleep; `random` is what it draws, in order, and then a half. */
async function node(random: number[] = [], { failures = 0, wanted = 1, ahead = 0 } = {}) {
  const clock = { now: ahead, sleeps: 0 };
  const stopping = new AbortController();
  const disk = new SimulatedDisk();
  disk.plant(`${folders.private}/key.pem`, Buffer.from(keyPem));
  const renewals: number[] = [];
  let during: ((at: number) => void) | undefined;
  const own: Clock = {
    now: () => clock.now,
    random: () => random.shift() ?? 0.5,
    async sleep(ms, signal) {
      during?.(clock.now);
      if (!signal.aborted) clock.now += ms;
      if (++clock.sleeps > 500) stopping.abort();
    },
  };
  const options = {
    ...{ disk, folders, address: "", log: pino({ level: "silent" }), clock: own, signal: stopping.signal },
    trust: {} as Trust,
  };
  const membership = new Membership(options, { keyPem, chainPem, life, role: "login" });
  vi.spyOn(membership, "connect").mockResolvedValue({
    async renew() {
      if (failures-- > 0) throw new Error("renew: no answer");
      renewals.push(clock.now);
      if (renewals.length === wanted) stopping.abort();
      return { chainPem, trustPem: undefined };
    },
    [Symbol.dispose]: () => undefined,
  } as unknown as Uplink);
  return {
    membership,
    renewals,
    /** When it renewed, in hours; `each` is called before each sleep. */
    renewed: async (each?: (at: number) => void): Promise<number | undefined> => {
      during = each;
      await membership.keep();
      return renewals[0] === undefined ? undefined : renewals[0] / hour;
    },
  };
}

test("each node draws its time once, however often it looks at the clock, and a fleet's times fill the window", async () => {
  const draws = Array.from({ length: 200 }, (_, n) => n / 200);
  const times = await Promise.all(draws.map(async (draw) => (await node([draw])).renewed()));
  const hours = times.map((time) => time ?? Number.NaN);
  // Half of 24 hours, and up to a tenth of them later.
  draws.forEach((draw, n) => {
    expect(hours[n]).toBeCloseTo(12 + 2.4 * draw, 6);
  });
  expect(Math.min(...hours)).toBeGreaterThanOrEqual(12);
  expect(Math.max(...hours)).toBeLessThanOrEqual(14.4);
});

test("a renewal that fails is tried again, later each time, and long before the certificate ends", async () => {
  const time = await (await node([0], { failures: 5 })).renewed();
  expect(time).toBeGreaterThan(12);
  expect(time).toBeLessThan(12.1);
});

test("asked to, it renews within the time that it was given, wherever its half-life is", async () => {
  for (const draw of [0, 0.3, 0.99]) {
    const { membership, renewed } = await node([0.5, draw]);
    let asked = false;
    const time = await renewed((at) => {
      if (at < 3 * hour || asked) return;
      asked = true;
      membership.renewWithin(600_000);
    });
    expect(time).toBeCloseTo(3 + draw / 6, 5);
  }
});

test("a clock that is days ahead renews at once, and then every ten minutes at most: the server is not besieged", async () => {
  const { renewals, renewed } = await node([0.5], { ahead: Date.now() + 50 * hour, wanted: 5 });
  await renewed();
  const [first = 0] = renewals;
  expect(renewals.map((at) => Math.round((at - first) / 60_000))).toEqual([0, 10, 20, 30, 40]);
});

test("asked for a time after its half-life, or without bounds, it renews no later for it", async () => {
  for (const within of [48 * hour, Number.MAX_SAFE_INTEGER, Number.POSITIVE_INFINITY]) {
    const { membership, renewed } = await node([0.5, 0.9]);
    membership.renewWithin(within);
    expect(await renewed()).toBeCloseTo(13.2, 6);
  }
});
