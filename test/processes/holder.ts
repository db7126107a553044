/** Agents without files: the real protocol over the real port, for tests of what the server does. */

import { mkdtempDisposable, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { newRequest } from "../../agent/credentials.ts";
import { realDisk } from "../../agent/disk.ts";
import { foldersIn, prepareFolders } from "../../agent/folders.ts";
import { type Identity, type Server, Uplink } from "../../agent/uplink.ts";
import { origin } from "../../identity/position.ts";
import type { Position } from "../../proto/gen/rollcall/v1/resource_pb.ts";
import { printPosition } from "../../proto/wire.ts";
import type { ControlPlane } from "./control-plane.ts";

/** An agent that holds whatever it is sent. */
export class Holder implements Disposable {
  heard: string[] = [];
  /** What it holds. */
  at: Position;
  ended: string | undefined;
  readonly #link: Uplink;
  readonly #end: () => void;

  constructor(server: Server, identity: Identity, from = printPosition(origin), highestUid = 0) {
    this.at = from;
    this.#link = new Uplink(server, identity);
    const stream = this.#link.sync({
      heard: ({ say }) => {
        this.heard.push(say.case ?? "");
        const to = say.case === "delta" || say.case === "snapshotEnd" ? say.value.to : undefined;
        if (!to) return;
        this.at = to;
        stream.say({ case: "ack", value: { $typeName: "rollcall.v1.Ack", position: to, sinks: [] } });
      },
      closed: (error) => {
        this.ended = String(error);
      },
    });
    this.#end = () => stream.end();
    // The older revision: a fleet is never upgraded at once.
    const who = { protocolMin: 1, protocolMax: 1, software: "test", instanceId: "test" };
    const highest = { highestUid, highestGid: 0 };
    stream.say({ case: "hello", value: { $typeName: "rollcall.v1.Hello", ...who, ...highest, position: from } });
  }

  [Symbol.dispose](): void {
    this.#end();
    this.#link[Symbol.dispose]();
  }
}

/** Enrols login nodes `n0`, `n1`, ...; they share a key. */
export async function enrolled(
  plane: ControlPlane,
  count: number,
): Promise<{ server: Server; identities: readonly Identity[] }> {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-holder-"));
  const folders = foldersIn(folder.path);
  await prepareFolders(realDisk, folders);
  const request = await newRequest(realDisk, folders);
  const keyPem = await readFile(join(folders.private, "key.pem"), "utf8");
  const server = { address: plane.urls.nodes, caPem: await readFile(plane.caFile, "utf8") };
  const identities = await Promise.all(
    Array.from({ length: count }, async (_, n): Promise<Identity> => {
      using link = new Uplink(server);
      return { keyPem, chainPem: await link.enroll({ joinToken: await plane.joinToken("login") }, request, `n${n}`) };
    }),
  );
  return { server, identities };
}

/** Resolves once something is so. @throws Error after ten seconds. */
export async function until(isTrue: () => boolean | Promise<boolean>): Promise<void> {
  // Made here, so that it says who waited.
  const late = new Error("it never came true");
  for (let tries = 0; !(await isTrue()); tries++) {
    if (tries > 500) throw late;
    await sleep(20);
  }
}
