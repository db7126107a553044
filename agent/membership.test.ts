/**
 * When a node renews, by a clock of the test's: at half its certificate's life with jitter, or when it is asked to; and what becomes
 * of it when the certificate has ended.
 */

import { execFileSync } from "node:child_process";
import { mkdtempDisposable, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join as path } from "node:path";
import { pino } from "pino";
import { describe, expect, test, vi } from "vitest";
import type { Clock } from "./clock.ts";
import { foldersIn } from "./folders.ts";
import { join, Membership } from "./membership.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import type { Trust } from "./trust.ts";
import { Uplink } from "./uplink.ts";

const folders = foldersIn("/state");
const hour = 3_600_000;
const life = { from: 0, to: 24 * hour };

/** A key, and a certificate of it: what a renewal brings is the same again. */
const { keyPem, chainPem } = (() => {
  const args = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=node", "-days", "1"];
  args.push("-addext", "subjectAltName=URI:spiffe://d/cluster/c/role/login/node/n1");
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
    elapsed: () => clock.now,
    random: () => random.shift() ?? 0.5,
    async sleep(ms, signal) {
      during?.(clock.now);
      if (!signal.aborted) clock.now += ms;
      if (++clock.sleeps > 500) stopping.abort();
    },
  };
  const options = {
    ...{ disk, folders, address: "", log: pino({ level: "silent" }), clock: own, signal: stopping.signal },
    ...{ node: "node-1", tokens: { joinTokenFile: undefined, kubernetesTokenFile: undefined }, trust: {} as Trust },
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

describe("a certificate that has ended", () => {
  /** An agent that is to join, and a server that lets in whoever brings a token of these. */
  async function stranded(options: { good: string[]; holds?: boolean; code?: number; now?: () => number }) {
    const folder = await mkdtempDisposable(path(tmpdir(), "rollcall-token-"));
    const tokenFile = path(folder.path, "join-token");
    const disk = new SimulatedDisk();
    disk.plant(`${folders.private}/key.pem`, Buffer.from(keyPem));
    if (options.holds ?? true) {
      disk.plant(`${folders.private}/cert.pem`, Buffer.from(chainPem));
    }
    const stopping = new AbortController();
    const tried: string[] = [];
    const told: string[] = [];
    const mocked = [
      vi.spyOn(Uplink.prototype, "renew").mockRejectedValue(new Error("renew: refused")),
      vi.spyOn(Uplink.prototype, "enroll").mockImplementation(async (token) => {
        const text = "joinToken" in token ? token.joinToken : token.kubernetesToken;
        tried.push(text);
        if (options.good.includes(text)) return { chainPem, trustPem: undefined };
        const cause = Object.assign(new Error("turned down"), { code: options.code ?? 16 });
        throw new Error("enroll: turned down", { cause });
      }),
    ];
    let sleeps = 0;
    /** Called before each wait, with its number. */
    let before: (n: number) => Promise<void> = async () => undefined;
    const shared = {
      ...{ disk, folders, address: "127.0.0.1:1", log: pino({ level: "silent" }), signal: stopping.signal, node: "n1" },
      trust: { now: async () => chainPem } as unknown as Trust,
      tokens: { joinTokenFile: tokenFile, kubernetesTokenFile: undefined },
      clock: {
        now: options.now ?? (() => Date.now() + 48 * hour),
        elapsed: () => 0,
        random: () => 0.5,
        sleep: async () => {
          await before(++sleeps);
          if (sleeps > 30) stopping.abort();
        },
      },
    };
    return {
      ...{ tried, told, tokenFile },
      write: (text: string) => writeFile(tokenFile, `${text}\n`),
      join: (isNew: boolean) => join(shared, isNew, (why) => told.push(why)),
      each: (act: (n: number) => Promise<void>) => {
        before = act;
      },
      stop: () => stopping.abort(),
      [Symbol.asyncDispose]: async () => {
        for (const mock of mocked) mock.mockRestore();
        await folder[Symbol.asyncDispose]();
      },
    };
  }

  test("lets the agent go on, which waits for a token, and sends none twice that was turned down", async () => {
    await using node = await stranded({ good: ["good"] });
    await node.write("spent");
    const membership = await node.join(false);
    membership?.onRenewed(node.stop);
    node.each(async (n) => {
      if (n === 10) await rm(node.tokenFile);
      if (n === 15) await node.write("good");
    });
    await membership?.keep();
    expect(node.tried).toEqual(["spent", "good"]);
  });

  test("a token that was not turned down, but could not be judged, is sent again", async () => {
    await using node = await stranded({ good: [], code: 14 });
    await node.write("token");
    const membership = await node.join(false);
    node.each(async (n) => {
      if (n === 6) node.stop();
    });
    await membership?.keep();
    expect(node.tried.length).toBeGreaterThan(2);
  });

  test("not before it has: a renewal that fails meanwhile spends no token", async () => {
    // Past its half-life, an hour before its end.
    await using node = await stranded({ good: ["good"], now: () => Date.now() + 23 * hour });
    await node.write("good");
    const membership = await node.join(false);
    node.each(async (n) => {
      if (n === 6) node.stop();
    });
    await membership?.keep();
    expect(node.tried).toEqual([]);
  });

  test("without any, a node in service waits for a token, and says so; a new one is told at once", async () => {
    await using node = await stranded({ good: ["good"], holds: false });
    await expect(node.join(true)).rejects.toThrow(/not enrolled: a new join token is needed in .*join-token/);
    node.each(async (n) => {
      if (n === 4) await node.write("good");
    });
    expect((await node.join(false))?.role).toBe("login");
    expect(node.told).toContainEqual(expect.stringMatching(/has not enrolled: a new join token is needed in/));
    expect(node.tried).toEqual(["good"]);
  });

  test("let in again in another role, it ends: what runs on the node goes by the role", async () => {
    await using node = await stranded({ good: ["good"] });
    await node.write("good");
    const membership = await node.join(false);
    vi.spyOn(membership ?? expect.fail("no membership"), "role", "get")
      .mockReturnValueOnce("login")
      .mockReturnValue("controller");
    await expect(membership?.keep()).rejects.toThrow("this node is a controller node now: start its agent again");
  });
});
