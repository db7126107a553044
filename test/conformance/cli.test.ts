/** `rollcall` as a real process against the real API: what it prints, and how it exits. */

import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { expect, test, vi } from "vitest";
import { enrol } from "../../server/directory/nodes.ts";
import { createJoinToken } from "../../server/directory/tokens.ts";
import { Ledger } from "../../server/rollout/ledger.ts";
import { operatorServer } from "./operator-server.ts";
import { ended, json, prints, rollcall, start } from "./rollcall.ts";

const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5PmlA3jqY7TPSVRnWOqVQrTQHgjXKF9ONt2CPnRwTC ada@laptop";

test("a SCIM token is made for scripts and for people, listed and revoked", async () => {
  await using server = await operatorServer();
  const made = await json(server, "scim-token create --org default --name okta");
  expect(made).toMatchObject({ token: expect.stringMatching(/^rcs_/), base_url: `${server.url}/scim/default/v2` });
  expect(await prints(server, "scim-token create --name entra")).toMatch(
    /^id +\S+\nbase_url +https:\S+\ntoken +rcs_\S+\n$/,
  );
  const list = await prints(server, "scim-token list");
  expect(list).toMatch(/^ID +NAME +FOR +CREATED +LAST USED +EXPIRES +REVOKED\n/);
  expect(list).not.toContain("rcs_");
  const { id } = made["scim_token"] as { id: string };
  expect(await prints(server, `scim-token revoke ${id}`)).toBe(`SCIM token ${id} is revoked.\n`);
  expect(await prints(server, "scim-token list")).toMatch(/okta +writing +\S+Z +- +- +\S+Z\n/);
});

test("tokens for nsscache and for OAuth say what to enter elsewhere; one is rotated", async () => {
  await using server = await operatorServer();
  expect(await prints(server, "scim-token create --name nsscache --cluster default --ttl 90d")).toMatch(
    /^id +\S+\nbase_url +https:\S+\/scim\/default\/default\/v2\ntoken +rcr_\S+\nexpires +\S+Z\n$/,
  );
  expect(await prints(server, "scim-token create --name entra --oauth")).toMatch(
    /^base_url +\S+\/v2\ntoken_url +\S+\/oauth\/token\nclient_id +[\w-]{36}\nclient_secret +rcc_\S+\n$/,
  );
  expect(await rollcall(server, "scim-token create --name x --oauth --cluster default")).toMatchObject({ code: 2 });
  expect(await rollcall(server, "scim-token create --name x --ttl 1y")).toMatchObject({ code: 2 });
  const made = await json(server, "scim-token create --name okta");
  const { id } = made["scim_token"] as { id: string };
  const rotated = await json(server, `scim-token rotate ${id} --overlap 0s`);
  expect(rotated).toMatchObject({ token: expect.stringMatching(/^rcs_/), replaced: { id } });
  const { id: next } = rotated["scim_token"] as { id: string };
  expect(await prints(server, `scim-token rotate ${next}`)).toMatch(
    new RegExp(`^id +\\S+\nbase_url +\\S+\ntoken +rcs_\\S+\n\n${next} works until \\S+Z\\.\n$`),
  );
  expect(await rollcall(server, `scim-token rotate ${next}`)).toMatchObject({
    code: 7,
    err: expect.stringContaining("revoke"),
  });
  const list = await prints(server, "scim-token list");
  expect(list).toMatch(/ entra +oauth /);
  expect(list).toMatch(/ nsscache +reading default /);
  expect(list).not.toMatch(/rc[acrs]_/);
});

test("people are locked for a reason, and unlocked", async () => {
  await using server = await operatorServer();
  await server.admit("ada@example.org");
  expect(await prints(server, "user lock ada --reason theft")).toBe("ada@example.org is locked.\n");
  expect(await prints(server, "user locks")).toMatch(
    /^USER +MADE BY +SINCE +REASON\nada@example.org +admin +\S+Z +theft\n$/,
  );
  expect(await rollcall(server, "user lock ada --reason theft")).toMatchObject({ code: 7 });
  expect(await rollcall(server, "user lock ada")).toMatchObject({ code: 2, err: expect.stringContaining("--reason") });
  expect(await prints(server, "user unlock ada@example.org")).toBe("ada@example.org is unlocked.\n");
  expect(await rollcall(server, "user unlock ada")).toMatchObject({ code: 3 });
  expect(await json(server, "user locks")).toMatchObject({ locks: [] });
});

test("a join token is made for a role and a time", async () => {
  await using server = await operatorServer();
  const made = await json(server, "join-token create --cluster default --role login --ttl 5m");
  expect(made["token"]).toMatch(/^rcj_/);
  expect(Date.parse(String(made["expires_at"])) - Date.now()).toBeLessThanOrEqual(300_000);
  expect(await rollcall(server, "join-token create")).toMatchObject({
    code: 2,
    err: expect.stringContaining("--role"),
  });
  expect(await rollcall(server, "join-token create --role boss")).toMatchObject({ code: 2 });
  expect(await rollcall(server, "join-token create --role login --ttl 2d")).toMatchObject({ code: 2 });
});

test("clusters and nodes are listed, shown and steered", async () => {
  await using server = await operatorServer();
  expect(await prints(server, "cluster create gpu")).toMatch(/^name +gpu\n/);
  expect(await prints(server, "cluster list")).toBe(
    "NAME     ORG      HEAD  NODES\ndefault  default  r1    0\ngpu      default  r1    0\n",
  );
  expect(await prints(server, "cluster show")).toContain("slurm-users: login");
  server.fleet.say(server.cluster, "login-1", { state: "current", acked: await server.head(), heard: 100 });
  server.fleet.say(server.cluster, "compute-1", { state: "pending", role: "compute" });
  expect(await prints(server, "node list")).toBe(
    [
      "NODE       ROLE     HOLDS  STATE            REFUSAL",
      "compute-1  compute  -      never connected",
      "login-1    login    r1     current",
      "",
    ].join("\n"),
  );
  expect(await prints(server, "node show login-1")).toMatch(/^holds +r1$/m);
  expect(await json(server, "node show login-1")).toMatchObject({
    node: { delivered_by: "delta", state: "STATE_CURRENT" },
  });
  expect(await prints(server, "node resync login-1")).toBe("Node login-1 is sent a snapshot.\n");
  expect(await prints(server, "node ban login-1")).toMatch(/^Node login-1 is banned\./);
});

test("people are found, and get and lose keys", async () => {
  await using server = await operatorServer();
  await server.admit("ada@example.org");
  expect(await prints(server, "user list")).toMatch(/^ada@example.org +ada +200000 +yes/m);
  const file = join(server.folder, "ada.pub");
  writeFileSync(file, `${key}\n`);
  const added = await prints(server, `key add ada --file ${file}`);
  const [, fingerprint] = /^Key (SHA256:\S+) added to ada\.\n$/.exec(added) ?? [];
  expect(await prints(server, "key list ada")).toMatch(/^SHA256:\S+ +ssh-ed25519 +ada@laptop +\S+Z +-$/m);
  expect(await prints(server, "user show ada")).toMatch(/^clusters +default$/m);
  expect(await rollcall(server, "key add ada --file -", {}, key)).toMatchObject({ code: 7 });
  expect(await prints(server, `key remove ada ${fingerprint}`)).toContain("removed");
  expect((await rollcall(server, "key add ada --file -", {}, key)).code).toBe(0);
});

test("a private key that is given by mistake never leaves the machine", async () => {
  await using server = await operatorServer();
  await server.admit("ada");
  const file = join(server.folder, "id_ed25519");
  execFileSync("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file]);
  const asked = vi.spyOn(server.ctx.store, "read");
  const { code, err } = await rollcall(server, `key add ada --file ${file}`);
  expect([code, err]).toEqual([2, expect.stringContaining("this is a private key")]);
  expect(asked).not.toHaveBeenCalled();
});

test("a rollout's status says who is behind and why, and its exit code says how it stands", async () => {
  await using server = await operatorServer();
  const { fleet, cluster } = server;
  const acked = await server.head();
  fleet.say(cluster, "login-1", { state: "current", acked, heard: 10 });
  expect(await rollcall(server, "rollout status")).toEqual({
    code: 0,
    out: "Rollout r1 complete: 1 of 1 nodes.\n",
    err: "",
  });
  fleet.say(cluster, "compute-2", { state: "stale", role: "compute", heard: 4_100 });
  const behind = await rollcall(server, "rollout status");
  expect({ ...behind, out: behind.out.replace(/(?<=heard )\d+(?=s ago)/, "4") }).toEqual({
    code: 5,
    out: [
      "Rollout r1 progressing: 1 of 2 nodes.",
      "NODE       ROLE     HOLDS  STATE                     REFUSAL",
      "compute-2  compute  -      stale, last heard 4s ago",
      "",
    ].join("\n"),
    err: "",
  });
  const refused = { revision: 1n, sink: "nss", reason: "write passwd.cache: ENOSPC", retrying: true };
  fleet.say(cluster, "full", { state: "refused", refused, heard: 10 });
  const degraded = await rollcall(server, "rollout status --revision r1");
  expect(degraded.code).toBe(6);
  expect(degraded.out).toMatch(/^full +login +- +refused r1 +nss: write passwd.cache: ENOSPC \(retrying\)$/m);
  fleet.say(cluster, "full", {
    state: "current",
    acked,
    isolated: { sink: "ssh", key: "key/200000/aa", reason: "sshd refuses the file" },
  });
  const isolated = await rollcall(server, "rollout status -o json");
  expect(isolated.code).toBe(6);
  expect(JSON.parse(isolated.out)).toMatchObject({
    rollout: { state: "STATE_DEGRADED", acked: 2, nodes: 3, waiting_for: [{ name: "full" }, { name: "compute-2" }] },
  });
  expect(await rollcall(server, "rollout status --revision 9")).toMatchObject({ code: 3, out: "" });
  expect(await prints(server, "rollout list")).toMatch(/^REVISION +COMMITTED +PUTS +REMOVALS +CAUSE\nr1 /);
});

test("how somebody stands in Slurm, how long it waits, and what a rule would do there", async () => {
  let ledger: Ledger | undefined;
  await using server = await operatorServer((ctx) => {
    ledger = new Ledger(ctx, { error: () => undefined });
    return ledger;
  });
  const { secret } = await createJoinToken(server.ctx, { kind: "admin" }, "default", "controller");
  const issue = () =>
    Promise.resolve({ chainPem: "", serial: "01", notAfter: 2_000_000_000_000, trustPem: "", trusted: [] });
  const { node } = await enrol(server.ctx, secret, "ctl", () => false, issue);
  ledger?.enrolled(node, false);
  expect(await prints(server, "rule add slurm-users account --account physics --default")).toMatch(
    /put$|removed, 0 held/m,
  );
  await server.admit("ada@example.org");
  expect(await prints(server, "user show ada")).toMatch(
    /^slurm of default +physics \(default\) waiting for ctl, since \S+Z$/m,
  );
  expect(await json(server, "user show ada")).toMatchObject({
    user: {
      slurm: [{ cluster: "default", accounts: [{ account: "physics", state: "STATE_WAITING", waiting_for: ["ctl"] }] }],
    },
  });
  expect(await prints(server, "rule add slurm-users account --account optics --dry-run")).toMatch(
    /^default: 1 would be put, 0 would be removed, 0 would be held, 1 would be put once the nodes know the people\n.*\n {2}later .* with optics\n {2}slurm {2}sacctmgr -i add account name=optics/,
  );
  const line = "cluster set --slurm-known-within 45s --slurm-cancel-within 2m --slurm-finish-within 7d";
  expect(await prints(server, line)).toMatch(
    /^slurm +accounts wait 45s for nodes, leavers 2m for jobs, 7d if these may finish$/m,
  );
  expect(await rollcall(server, "cluster set --slurm-cancel-within 91d")).toMatchObject({ code: 2 });
});

test("what a node wrote cannot act on the operator's terminal", async () => {
  await using server = await operatorServer();
  const reason = "\u001b[2J\u001b]0;owned\u0007\nRollout r1 complete: 1 of 1 nodes.\u009b31m";
  server.fleet.say(server.cluster, "evil", { state: "refused", refused: { revision: 1n, sink: "nss", reason } });
  for (const line of ["rollout status", "node list", "node show evil", "node show evil -o json"]) {
    const { out } = await rollcall(server, line);
    expect(out, line).toContain("Rollout r1 complete");
    expect(out.replaceAll("\n", ""), line).toMatch(/^[\x20-\x7e]*$/);
    expect(out, "no line of its own").not.toMatch(/^Rollout r1 complete/m);
  }
});

test("-w goes on until the rollout is complete", async () => {
  await using server = await operatorServer();
  server.fleet.say(server.cluster, "login-1", { state: "updating", heard: 10 });
  const watching = ended(start(server, ["rollout", "status", "-w", "--timeout", "60s"]));
  await vi.waitFor(() => expect(server.fleet.listeners.size).toBe(1), 10_000);
  server.fleet.say(server.cluster, "login-1", { state: "current", acked: await server.head() });
  const { code, out, err } = await watching;
  expect([code, err]).toEqual([0, ""]);
  expect(out).toMatch(
    /^Rollout r1 progressing: 0 of 1 nodes\.\nNODE.*\nlogin-1 .*\nRollout r1 complete: 1 of 1 nodes\.\n$/,
  );
});

test("-w that is interrupted or out of time says how it stood, and leaves no stream behind", async () => {
  await using server = await operatorServer();
  server.fleet.say(server.cluster, "login-1", { state: "updating" });
  const interrupted = start(server, ["rollout", "status", "-w", "-o", "json"]);
  const end = ended(interrupted);
  await vi.waitFor(() => expect(server.fleet.listeners.size).toBe(1), 10_000);
  await new Promise((resolve) => setTimeout(resolve, 200));
  interrupted.kill("SIGINT");
  const { code, out, err } = await end;
  expect([code, err, out.split("\n").length]).toEqual([5, "", 2]);
  await vi.waitFor(() => expect(server.fleet.listeners.size).toBe(0));
  expect(await rollcall(server, "rollout status -w --timeout 300ms")).toMatchObject({ code: 5, err: "" });
  const refused = { revision: 1n, sink: "nss", reason: "visudo", retrying: false };
  server.fleet.say(server.cluster, "login-1", { state: "refused", refused });
  expect(await rollcall(server, "rollout status -w --timeout 300ms")).toMatchObject({ code: 6, err: "" });
});

test("a call that nobody answers is interrupted at once", async () => {
  await using server = await operatorServer();
  const silent = createServer(() => {});
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as AddressInfo;
  const met = once(silent, "connection");
  const child = start(server, ["cluster", "list"], { ROLLCALL_SERVER: `https://127.0.0.1:${port}` });
  const end = ended(child);
  await met;
  const before = Date.now();
  child.kill("SIGINT");
  expect(await end).toMatchObject({ code: 1, out: "", err: expect.stringContaining("interrupted") });
  expect(Date.now() - before).toBeLessThan(5_000);
  silent.close();
});

test("every way to fail has its exit code, and one line that says what to do", async () => {
  await using server = await operatorServer();
  await using elsewhere = await operatorServer();
  server.fleet.say(server.cluster, "gone", { state: "banned" });
  const missing = join(server.folder, "missing");
  const fails = async (line: string, environment: Record<string, string | undefined>, code: number, words: string) => {
    const ended = await rollcall(server, line, environment);
    expect(ended, line).toMatchObject({ code, out: "", err: expect.stringContaining(words) });
    expect(ended.err.trim().split("\n"), line).toHaveLength(1);
    expect(ended.err, "no secret in an error").not.toContain(server.token);
  };
  await fails("cluster show nope", {}, 3, 'no cluster "nope"');
  await fails("node show nope", {}, 3, 'no node "nope"');
  await fails("cluster list", { ROLLCALL_TOKEN: "rca_wrong" }, 4, "Check ROLLCALL_TOKEN");
  await fails("cluster create default", {}, 7, "already");
  await fails("node resync gone", {}, 7, "is banned");
  await fails("cluster create A", {}, 2, "DNS label");
  await fails("cluster list", { ROLLCALL_SERVER: "https://127.0.0.1:1" }, 8, "ECONNREFUSED");
  await fails("cluster list", { ROLLCALL_SERVER: "https://nowhere.invalid" }, 8, "Is the server running");
  await fails("cluster list", { ROLLCALL_CA: elsewhere.caPath }, 8, "cannot be trusted");
  await fails("cluster list", { ROLLCALL_CA: undefined }, 8, "cannot be trusted");
  await fails("cluster list", { ROLLCALL_SERVER: undefined }, 2, "ROLLCALL_SERVER");
  await fails("cluster list", { ROLLCALL_TOKEN: undefined }, 2, "ROLLCALL_TOKEN");
  await fails(`cluster list --token-file ${missing}`, {}, 2, missing);
  await fails("cluster list", { ROLLCALL_CA: missing }, 2, missing);
  await fails("rollout status --revision x", {}, 2, "is not a revision");
  await fails("rollout status --timeout 5s", {}, 2, "it needs -w");
  await fails("cluster lsit", {}, 2, "Did you mean list");
  await fails("cluster list -o yaml", {}, 2, "yaml");
});

test("a token file serves in place of the environment", async () => {
  await using server = await operatorServer();
  const file = join(server.folder, "operator-token");
  writeFileSync(file, `${server.token}\n`);
  const words = ["cluster", "list", "--server", server.url, "--ca", server.caPath, "--token-file", file];
  const none = { ROLLCALL_SERVER: undefined, ROLLCALL_TOKEN: "rca_old", ROLLCALL_CA: undefined };
  expect(await ended(start(server, words, none))).toMatchObject({ code: 0, err: "" });
});
