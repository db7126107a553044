import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { Refusal } from "../identity/refusal.ts";
import { Rollout_State } from "../proto/gen/rollcall/v1/rollout_pb.ts";
import { exitOf, failureOf, UsageError } from "./exit.ts";

const url = "https://roll.example:8443";

test.each([
  [Code.InvalidArgument, 2],
  [Code.NotFound, 3],
  [Code.Unauthenticated, 4],
  [Code.PermissionDenied, 4],
  [Code.AlreadyExists, 7],
  [Code.FailedPrecondition, 7],
  [Code.Unavailable, 8],
  [Code.DeadlineExceeded, 8],
  [Code.Internal, 1],
  [Code.ResourceExhausted, 1],
])("gRPC code %d ends with %d", (code, exit) => {
  const failure = failureOf(new ConnectError("why", code), url);
  expect(failure.exit).toBe(exit);
  expect(failure.text).toContain(url);
  expect(failure.text).toContain("why");
});

test.each([
  [Rollout_State.COMPLETE, 0],
  [Rollout_State.PROGRESSING, 5],
  [Rollout_State.DEGRADED, 6],
  [Rollout_State.UNSPECIFIED, 1],
])("a rollout in state %d ends with %d", (state, exit) => {
  expect(exitOf(state)).toBe(exit);
});

test("what could not be meant is usage, what nobody foresaw is failure", () => {
  expect(failureOf(new UsageError("no server"), undefined)).toEqual({ exit: 2, text: "no server" });
  expect(failureOf(new Refusal("invalid", "no key"), url)).toEqual({ exit: 2, text: "no key" });
  expect(failureOf(new Error("EIO"), url)).toEqual({ exit: 1, text: "EIO" });
});

test("an error's words cannot act on the terminal", () => {
  const failure = failureOf(new ConnectError("no node \u001b[2J\nrollcall: done", Code.NotFound), url);
  expect(failure.text).toMatch(/^[^\p{C}]+$/u);
});

test("TLS that cannot be trusted is told apart from a server that is away", () => {
  const cause = Object.assign(new Error("self-signed certificate"), { code: "SELF_SIGNED_CERT_IN_CHAIN" });
  const untrusted = failureOf(new ConnectError("x", Code.Internal, undefined, undefined, cause), url);
  expect(untrusted).toMatchObject({ exit: 8, text: expect.stringContaining("--ca") });
  const refused = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:1"), { code: "ECONNREFUSED" });
  const away = failureOf(new ConnectError("x", Code.Unavailable, undefined, undefined, refused), url);
  expect(away).toMatchObject({ exit: 8, text: expect.stringContaining("ECONNREFUSED") });
});
