/**
 * Who gets in at the node port, asked of a real server process by real TLS clients: join tokens work once, certificates
 * count only while they are ours, in time and not replaced, and what an agent may say is checked.
 */

import { generateKeyPairSync } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { newRequest } from "../../agent/credentials.ts";
import { realDisk } from "../../agent/disk.ts";
import { foldersIn, prepareFolders } from "../../agent/folders.ts";
import { type Identity, Uplink } from "../../agent/uplink.ts";
import { origin } from "../../identity/position.ts";
import { NodeService, type SyncRequest, type SyncResponse } from "../../proto/gen/rollcall/v1/node_pb.ts";
import { TokenService } from "../../proto/gen/rollcall/v1/token_pb.ts";
import { printMillis, printPosition, printRole } from "../../proto/wire.ts";
import { openAuthority } from "../../server/authority/authority.ts";
import { ControlPlane } from "../processes/control-plane.ts";

let plane: ControlPlane;
let folder: string;

beforeAll(async () => {
  plane = await ControlPlane.start();
  folder = await mkdtemp(join(tmpdir(), "rollcall-port-"));
});

afterAll(async () => {
  await plane[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** A node's key and a certificate request of it. */
async function keyAndRequest(name: string): Promise<{ keyPem: string; request: Uint8Array }> {
  const folders = foldersIn(join(folder, name));
  await realDisk.folder(join(folder, name), 0o755);
  await prepareFolders(realDisk, folders);
  const request = await newRequest(realDisk, folders);
  return { request, keyPem: await readFile(join(folders.private, "key.pem"), "utf8") };
}

async function server() {
  return { address: plane.urls.nodes, caPem: await readFile(plane.caFile, "utf8") };
}

async function uplink(identity?: Identity): Promise<Uplink> {
  return new Uplink(await server(), identity);
}

async function enrol(name: string, token?: string): Promise<Identity> {
  const { keyPem, request } = await keyAndRequest(name);
  using link = await uplink();
  return {
    keyPem,
    ...(await link.enroll({ joinToken: token ?? (await plane.joinToken("login")) }, request, name)),
  };
}

const hello: SyncRequest["say"] = {
  case: "hello",
  value: {
    $typeName: "rollcall.v1.Hello",
    protocolMin: 1,
    protocolMax: 1,
    software: "test",
    instanceId: "test",
    position: printPosition(origin),
    highestUid: 0,
    comparing: false,
    highestGid: 0,
  },
};

/** Opens a stream, says some messages, and tells what came back until it ended or half a second was quiet. */
async function sync(identity: Identity | undefined, ...say: SyncRequest["say"][]) {
  using link = await uplink(identity);
  const heard: SyncResponse[] = [];
  let ended: Error | "open" | undefined = "open";
  const stream = link.sync({
    heard: (message) => heard.push(message),
    closed: (error) => {
      ended = error;
    },
  });
  for (const message of say) stream.say(message);
  for (let quiet = 0, before = 0; quiet < 25 && ended === "open"; quiet = heard.length === before ? quiet + 1 : 0) {
    before = heard.length;
    await sleep(20);
  }
  const result = {
    heard: heard.map(({ say: { case: kind } }) => kind),
    ended: ended === "open" ? "open" : String(ended),
  };
  stream.end();
  return result;
}

describe("join tokens", () => {
  test("one that was never made is refused, and logged", async () => {
    await expect(enrol("unknown-token", "rcj_guess")).rejects.toThrow(/join token is not valid/);
    await plane.process.says(/node refused entry/);
  });

  test("works once, however many ask at the same time", async () => {
    const token = await plane.joinToken("login");
    const all = await Promise.allSettled(Array.from({ length: 20 }, (_, n) => enrol(`racer-${n}`, token)));
    expect(all.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await expect(enrol("late", token)).rejects.toThrow(/join token is not valid/);
  });

  test("ends", async () => {
    const tokens = await plane.client(TokenService);
    const { token } = await tokens.createJoinToken({ role: printRole("login"), ttl: printMillis(50) });
    await sleep(100);
    await expect(enrol("too-late", token)).rejects.toThrow(/join token is not valid/);
  });

  test("is not spent by a request that is refused", async () => {
    const token = await plane.joinToken("login");
    using link = await uplink();
    await expect(link.enroll({ joinToken: token }, Buffer.from("nonsense"), "bad-request")).rejects.toThrow();
    await expect(enrol("../etc", token)).rejects.toThrow(/not a DNS label/);
    await expect(enrol("good-request", token)).resolves.toBeDefined();
  });

  test("does not take the place of a node that is connected", async () => {
    const identity = await enrol("occupied");
    using link = await uplink(identity);
    const welcomed = new Promise<() => void>((resolve) => {
      const stream = link.sync({ heard: () => resolve(() => stream.end()), closed: () => {} });
      stream.say(hello);
    });
    const end = await welcomed;
    const token = await plane.joinToken("login");
    await expect(enrol("occupied", token)).rejects.toThrow(/is connected; ban it first/);
    end();
    await expect(enrol("somebody-else", token)).resolves.toBeDefined();
  });
});

describe("certificates", () => {
  test("none: nothing but Enroll", async () => {
    expect(await sync(undefined, hello)).toEqual({ heard: [], ended: expect.stringMatching(/16 UNAUTHENTICATED/) });
  });

  test("of another authority: the connection ends before anything is answered", async () => {
    const { keyPem, request } = await keyAndRequest("foreigner");
    const other = await openAuthority(await mkdtemp(join(folder, "ca-")), { now: Date.now });
    const { chainPem } = await other.issueNode({ cluster: "default", role: "login", node: "foreigner" }, request);
    expect(await sync({ keyPem, chainPem }, hello)).toEqual({
      heard: [],
      ended: expect.stringMatching(/14 UNAVAILABLE/),
    });
    await plane.process.says(/client certificate refused/);
  });

  test("expired: the same", async () => {
    const { keyPem, request } = await keyAndRequest("expired");
    const ours = await openAuthority(plane.data, { now: () => Date.now() - 3_600_000 });
    const subject = { cluster: "default", role: "login", node: "expired" } as const;
    const { chainPem } = await ours.issueNode(subject, request, 60_000);
    expect(await sync({ keyPem, chainPem }, hello)).toEqual({
      heard: [],
      ended: expect.stringMatching(/14 UNAVAILABLE/),
    });
    await plane.process.says(/CERT_HAS_EXPIRED/);
  });

  test("of ours, but not the node's newest or the one before", async () => {
    const first = await enrol("renewing");
    const { request } = await keyAndRequest("renewing");
    const renewed = async (identity: Identity): Promise<Identity> => {
      using link = await uplink(identity);
      return { keyPem: identity.keyPem, ...(await link.renew(request)) };
    };
    const second = await renewed(first);
    expect((await sync(first, hello)).heard[0]).toBe("welcome");
    expect((await sync(second, hello)).heard[0]).toBe("welcome");
    const third = await renewed(second);
    expect((await sync(third, hello)).heard[0]).toBe("welcome");
    expect((await sync(second, hello)).heard[0]).toBe("welcome");
    expect(await sync(first, hello)).toEqual({ heard: [], ended: expect.stringMatching(/16 UNAUTHENTICATED/) });
  });

  test("another key than the certificate's", async () => {
    const { chainPem } = await enrol("two-keys");
    const keyPem = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({
      type: "pkcs8",
      format: "pem",
    });
    await expect(sync({ keyPem: keyPem.toString(), chainPem }, hello)).rejects.toThrow(/key values mismatch/);
  });
});

test.each([
  ["the older one alone", 1, 1, 1],
  ["both", 1, 2, 2],
  ["newer ones too", 2, 9, 3],
])("an agent that speaks %s is spoken to in the newest that both know", async (_, protocolMin, protocolMax, spoken) => {
  const identity = await enrol(`speaks-${protocolMin}-${protocolMax}`);
  using link = await uplink(identity);
  const welcome = await new Promise<number>((resolve, reject) => {
    const stream = link.sync({
      heard: ({ say }) => say.case === "welcome" && resolve(say.value.protocol),
      closed: reject,
    });
    stream.say({ case: "hello", value: { ...hello.value, protocolMin, protocolMax } } as SyncRequest["say"]);
  });
  expect(welcome).toBe(spoken);
});

describe("what an agent may say", () => {
  const position = printPosition({ ...origin, revision: 1n });

  test.each<[string, SyncRequest["say"][], RegExp]>([
    [
      "anything before Hello",
      [{ case: "heartbeat", value: { $typeName: "rollcall.v1.Heartbeat", position, sinks: [] } }],
      /must be Hello/,
    ],
    ["Hello twice", [hello, hello], /comes once/],
    ["nothing", [hello, { case: undefined }], /not known here/],
    [
      "a position that is none",
      [{ case: "hello", value: { ...hello.value, position: { ...position, digest: "x" } } }],
      /digest/,
    ],
    [
      "a protocol that nobody speaks",
      [{ case: "hello", value: { ...hello.value, protocolMin: 7, protocolMax: 9 } }],
      /protocol/,
    ],
    [
      "an ack of what it was not sent",
      [hello, { case: "ack", value: { $typeName: "rollcall.v1.Ack", position, sinks: [] } }],
      /not sent/,
    ],
    [
      "a message of a megabyte",
      [{ case: "hello", value: { ...hello.value, software: "x".repeat(1_000_000) } }],
      /larger than max|RESOURCE/i,
    ],
  ])("not %s: its stream ends, with the reason", async (_, say, reason) => {
    const identity = await enrol(`hostile-${Math.abs(hash(reason.source))}`);
    const { ended } = await sync(identity, ...say);
    expect(ended).toMatch(reason);
    expect((await sync(identity, hello)).heard[0]).toBe("welcome");
  });

  test("terminal escapes and line breaks in a refusal reach no operator", async () => {
    const identity = await enrol("noisy");
    using link = await uplink(identity);
    const closed = new Promise((resolve) => {
      const stream = link.sync({
        heard: ({ say }) => {
          if (say.case !== "snapshotEnd") return;
          const nack = {
            at: printPosition(origin),
            refusedRevision: say.value.to?.revision ?? 0n,
            retrying: false,
            diverged: false,
            busy: false,
          };
          stream.say({
            case: "nack",
            value: { $typeName: "rollcall.v1.Nack", ...nack, sink: "s\u001b[2J", reason: "a\nb\u202ec" },
          });
          setTimeout(() => stream.end(), 200);
        },
        closed: resolve,
      });
      stream.say(hello);
    });
    await closed;
    const nodes = await plane.client(NodeService);
    const { node } = await nodes.getNode({ node: "noisy" });
    expect(node?.refused).toMatchObject({ sink: "s [2J", reason: "a b c" });
  });
});

function hash(text: string): number {
  let sum = 0;
  for (const char of text) sum = (sum * 31 + char.charCodeAt(0)) | 0;
  return sum;
}
