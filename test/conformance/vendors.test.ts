/**
 * What Okta, Entra and the RFCs' figures say to a server and must be answered, replayed from test/data/scim: one file a
 * sequence, in our own words after the documents that each names.
 *
 * In a fixture `{{name}}` stands for what was kept under that name, `{{=name}}` keeps what the answer has there, `{{any}}` is
 * anything but nothing; `{{base}}` is where the server is. An answer may have more than its fixture, but lists are whole.
 */

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Json, scimServer } from "./scim-server.ts";

interface Step {
  readonly title: string;
  readonly request: { method: string; path: string; headers?: Record<string, string>; body?: Json };
  readonly response: { status: number; headers?: Record<string, string>; body?: Json; absent?: string[] };
}

interface Sequence {
  /** The document that it follows. */
  readonly source: string;
  readonly steps: readonly Step[];
}

const folder = join(import.meta.dirname, "../data/scim");

describe.each(["entra", "okta", "rfc"])("%s", (vendor) => {
  for (const file of globSync(`${vendor}/*.json`, { cwd: folder }).sort()) {
    const { source, steps } = JSON.parse(readFileSync(join(folder, file), "utf8")) as Sequence;
    test(`${file}: ${source}`, () => replay(steps));
  }
});

async function replay(steps: readonly Step[]): Promise<void> {
  await using server = await scimServer();
  const kept = new Map<string, string>([["base", `${server.url}/scim/default/v2`]]);
  for (const { title, request, response } of steps) {
    const { method, path, headers, body } = filled(request, kept) as Step["request"];
    const answer = await server.request(method, path, body, headers);
    expect(answer.status, `${title}: ${answer.text}`).toBe(response.status);
    keep(response.body, answer.json, kept);
    expect(answer.json, title).toMatchObject(filled(response.body ?? {}, kept) as Json);
    for (const name of response.absent ?? []) expect(answer.json, title).not.toHaveProperty([name]);
    for (const [name, value] of Object.entries(filled(response.headers ?? {}, kept) as Json)) {
      expect(answer.headers.get(name), `${title}: ${name}`).toBe(value);
    }
    if (answer.text === "") expect([204, 304], title).toContain(answer.status);
    else expect(answer.headers.get("content-type"), title).toMatch(/^application\/scim\+json(;|$)/);
  }
}

function keep(wanted: unknown, found: unknown, kept: Map<string, string>): void {
  if (typeof wanted === "string") {
    const name = /^\{\{=(.+)\}\}$/.exec(wanted)?.[1];
    if (name === undefined) return;
    kept.set(name, typeof found === "string" ? found : expect.fail(`the answer has no ${name}`));
  } else if (typeof wanted === "object" && wanted !== null && typeof found === "object" && found !== null) {
    for (const [key, value] of Object.entries(wanted)) keep(value, (found as Json)[key], kept);
  }
}

function filled(value: unknown, kept: ReadonlyMap<string, string>): unknown {
  if (typeof value === "string") {
    if (value === "{{any}}") return expect.anything();
    return value.replace(/\{\{=?([^}]+)\}\}/g, (_, name: string) => {
      return kept.get(name) ?? expect.fail(`the fixture never kept ${name}`);
    });
  }
  if (Array.isArray(value)) return value.map((each) => filled(each, kept));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, filled(each, kept)]));
}
