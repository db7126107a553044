/** The hostile inputs at the operator API: each gets what the file expects, and nothing of a refused one stays. */

import { readFileSync } from "node:fs";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, test } from "vitest";
import { DirectoryService } from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { hostileInputs } from "../hostile.ts";
import { type OperatorServer, operatorServer } from "./operator-server.ts";

function client(server: OperatorServer) {
  const transport = createGrpcTransport({
    baseUrl: server.url,
    nodeOptions: { ca: readFileSync(server.caPath) },
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${server.token}`);
        return next(request);
      },
    ],
  });
  return createClient(DirectoryService, transport);
}

/** The code that a call is refused with; undefined if it is not. */
async function codeOf(call: Promise<unknown>): Promise<Code | undefined> {
  try {
    await call;
    return undefined;
  } catch (error) {
    if (!(error instanceof ConnectError)) throw error;
    expect(error.rawMessage, "what, where, which rule").toMatch(/\S+ .*\S/);
    // Escaped: a terminal gets nothing to obey.
    expect(error.rawMessage).not.toMatch(/[\p{Cc}\p{Cf}]/u);
    return error.code;
  }
}

const refused = [Code.InvalidArgument, Code.AlreadyExists, Code.ResourceExhausted];
const strings = (field: string, ...expected: string[]): [string, string][] =>
  hostileInputs(field, ...expected).flatMap(([title, value]): [string, string][] =>
    typeof value === "string" ? [[title, value]] : [],
  );
// A name is made of a userName or a display name, whose dots and capitals become what a POSIX name may have.
const isMade = (value: string): boolean => /^[A-Za-z_][A-Za-z._-]*$/.test(value);

describe("people", () => {
  test("a login is refused or made as the file says, and what is refused leaves nobody", async () => {
    await using server = await operatorServer();
    const directory = client(server);
    for (const [title, userName] of strings("login", "reject")) {
      const code = await codeOf(directory.createUser({ userName }));
      if (code === undefined) {
        const { user } = await directory.getUser({ user: userName });
        expect(isMade(userName), title).toBe(true);
        expect(user?.posixName, title).toMatch(/^[a-z_][a-z0-9_-]{0,30}$/);
        expect(user?.posixName, title).not.toBe(userName);
      } else expect(refused, title).toContain(code);
    }
    for (const [title, userName] of strings("login", "accept")) {
      expect(await codeOf(directory.createUser({ userName })), title).toBeUndefined();
    }
  });

  test.each([
    ["uid", (uid: unknown) => ({ userName: "mallory", uid: uid as number })],
    ["home", (home: unknown) => ({ userName: "mallory", home: home as string })],
    ["shell", (shell: unknown) => ({ userName: "mallory", shell: shell as string })],
  ])("a %s of a system's, or that is none, is refused", async (field, request) => {
    await using server = await operatorServer();
    const directory = client(server);
    // An empty home or shell is the org's; what is no uint32 cannot be said in a message, whoever made it.
    const said = hostileInputs(field, "reject").filter(([, value]) => {
      return field === "uid"
        ? Number.isInteger(value) && Number(value) >= 0 && Number(value) < 2 ** 32
        : value !== "" && typeof value === "string";
    });
    expect(said.length).toBeGreaterThan(5);
    for (const [title, value] of said) {
      expect([title, await codeOf(directory.createUser(request(value)))]).toEqual([title, Code.InvalidArgument]);
    }
    expect((await directory.listUsers({})).users).toEqual([]);
  });

  test("keys are refused or cleaned as the file says", async () => {
    await using server = await operatorServer();
    const directory = client(server);
    await directory.createUser({ userName: "ada" });
    for (const [title, publicKey] of strings("sshKey", "reject")) {
      expect([title, await codeOf(directory.addSshKey({ user: "ada", publicKey }))]).toEqual([
        title,
        Code.InvalidArgument,
      ]);
    }
    for (const [title, publicKey] of strings("sshKey", "sanitise")) {
      expect([title, await codeOf(directory.addSshKey({ user: "ada", publicKey }))]).toEqual([title, undefined]);
      const { user } = await directory.getUser({ user: "ada" });
      expect(user?.sshKeys[0]?.comment, title).toMatch(/^[\x20-\x7e]{0,128}$/);
      await directory.removeSshKey({ user: "ada", fingerprint: user?.sshKeys[0]?.fingerprint ?? "" });
    }
  });
});

test("a group that is a system's, or whose name is none, is refused", async () => {
  await using server = await operatorServer();
  const directory = client(server);
  for (const [title, displayName] of strings("group", "reject")) {
    const code = await codeOf(directory.createGroup({ displayName }));
    expect([title, code]).toEqual([title, expect.toBeOneOf(refused)]);
  }
  expect((await directory.listGroups({})).groups).toEqual([]);
});
