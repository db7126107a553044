import { expect, test } from "vitest";
import { Refusal } from "../../identity/refusal.ts";
import { failureOf, ScimRefusal } from "./errors.ts";

test.each([
  [new Refusal("invalid", "x"), 400, "invalidValue"],
  [new ScimRefusal("invalidFilter", "x"), 400, "invalidFilter"],
  [new Refusal("forbidden", "x"), 403, undefined],
  [new Refusal("not-found", "x"), 404, undefined],
  [new Refusal("conflict", "x"), 409, "uniqueness"],
  [new Refusal("exhausted", "x"), 507, undefined],
])("%s is %d %s", (refusal, status, scimType) => {
  const { body, bug, ...rest } = failureOf(refusal);
  expect([rest.status, body.status, body.scimType, body.detail, bug]).toEqual([
    status,
    String(status),
    scimType,
    "x",
    false,
  ]);
});

test("a database that is away is 503, and is logged", () => {
  const { status, body, bug } = failureOf(new Refusal("unavailable", "later"));
  expect([status, body.status, body.detail, bug]).toEqual([503, "503", "later", true]);
});

test("anything else is our bug, and says nothing", () => {
  for (const error of [new Error("secret"), "secret", undefined, { statusCode: 400, message: "secret" }]) {
    const { status, body, bug } = failureOf(error);
    expect([status, body.detail, bug]).toEqual([500, "internal", true]);
  }
});
