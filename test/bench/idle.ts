/**
 * What a node's agent, as it is shipped in one file, costs while nothing happens, beside sssd on the same machine: memory and processor time over a minute, at
 * the same time, each on a test host of its own. The agent has its stream open; sssd a domain of local users (proxy to
 * files), which is the least that it can do. And how long a new node takes from the agent's start to the first look-up that finds somebody.
 *
 * With many people: an agent that has them in its memory, which a driver put there, and is connected, though its server knows
 * them not and tells it to wait.
 */

import { mkdtempDisposable, readFile, rename } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { bundle } from "../../deploy/bundle.ts";
import { type Host, openLab } from "../lab/host.ts";
import { Started } from "../processes/started.ts";
import { HostedNode, HostedPlane } from "../real/system.ts";
import { AgentNode } from "./peer/agent-node.ts";

export interface IdleFigures {
  readonly seconds: number;
  /** The size of the agent's file, in kB. */
  readonly bundle: number;
  readonly agent: Idle;
  /** With this many people. */
  readonly people: number;
  readonly full: Idle;
  readonly sssd: Idle;
  /** Milliseconds from the agent's start, on a host that never had one, to a look-up that finds somebody. */
  readonly firstLookUp: number;
}

/** Of all processes of a kind together. */
export interface Idle {
  readonly processes: number;
  /** Resident, MB; what several processes share counts for each. */
  readonly rss: number;
  /** The same, what is shared counted once, in parts. */
  readonly pss: number;
  /** Milliseconds of processor time in the whole interval. */
  readonly cpu: number;
}

const sssdConf = `[sssd]
services = nss
domains = local
[domain/local]
id_provider = proxy
proxy_lib_name = files
proxy_pam_target = sssd-shadowutils
`;

const program = "/usr/lib/rollcall/rollcall-agent.mjs";

/** The words before the agent's command, in whose place the bundle runs. */
const shipped = ["sh", "-c", `shift; exec node --expose-gc --disable-warning=DEP0123 ${program} "$@"`, "sh"];

export async function idleBench(people: number, seconds: number, say: (text: string) => void): Promise<IdleFigures> {
  await using lab = await openLab({ name: "idle", packages: ["sssd-common", "sssd-proxy", "libnss-sss"] });
  await using plane = await HostedPlane.start(lab);
  const user = await plane.create("Users", { userName: "ada" });
  await plane.create("Groups", { displayName: "slurm-users", members: [{ value: user }] });
  const [small, large, other] = [await lab.host("small"), await lab.host("large"), await lab.host("sssd")];

  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-bundle-"));
  const size = await bundle(join(folder.path, "agent.mjs"));
  const file = await readFile(join(folder.path, "agent.mjs"));
  for (const host of [small, large]) await host.write(program, file, 0o755);

  say("an agent starts on a new node");
  const from = performance.now();
  const joining = HostedNode.join(plane, small, "login", shipped);
  while ((await small.run("getent", ["-s", "cache", "passwd", "ada"])).code !== 0) await sleep(10);
  const firstLookUp = performance.now() - from;
  await using _ = await joining;

  say(`another one takes ${people} people`);
  await using node = await HostedNode.join(plane, large, "login", shipped);
  await node.process.end();
  {
    await using driver = await AgentNode.start(large, "/var/lib/full", people);
    say(`they were taken in ${driver.ready.wall.toFixed(0)} ms`);
  }
  await rename(join(large.root, "/var/lib/full/private/base"), join(large.root, node.state, "private/base"));
  await rename(join(large.root, "/var/lib/full/private/journal"), join(large.root, node.state, "private/journal"));
  await large.run("rm", ["-r", join(node.state, "served")]);
  await node.start(shipped);

  say("sssd starts");
  await other.write("/etc/sssd/sssd.conf", sssdConf, 0o600);
  await using sssd = new Started(other.spawn("sssd", ["-i", "--logger=stderr"]));
  for (let n = 0; (await other.run("getent", ["-s", "sss", "passwd", "daemon"])).code !== 0; n++) {
    if (n > 100) throw new Error(`sssd answers nobody: ${sssd.stderr}`);
    await sleep(100);
  }

  say(`nothing happens for ${seconds} s`);
  await sleep(10_000);
  const look = () => Promise.all([seen(small, program), seen(large, program), seen(other, "sssd")]);
  const before = await look();
  await sleep(seconds * 1000);
  const after = await look();
  const [agent, full, theirs] = after.map((now, n) => ({ ...now, cpu: now.cpu - (before[n]?.cpu ?? 0) }));
  if (!agent || !full || !theirs) throw new Error("nothing was seen");
  return { seconds, bundle: size / 1000, agent, people, full, sssd: theirs, firstLookUp };
}

/** The processes of a host whose command line has a word in it; `cpu` since their start. */
async function seen(host: Host, word: string): Promise<Idle> {
  const script = `
    for pid in $(pgrep -f "$1"); do
      awk '/^Rss:/ { rss = $2 } /^Pss:/ { pss = $2 } END { printf "%s %s ", rss, pss }' "/proc/$pid/smaps_rollup"
      sed 's/.*) //' "/proc/$pid/stat" | awk '{ print ($12 + $13) * 10 }'
    done`;
  // In brackets, or it would be in this command's own line.
  const pattern = `[${word.slice(0, 1)}]${word.slice(1)}`;
  const { stdout } = await host.run("bash", ["--norc", "-c", script, "bash", pattern]);
  const processes = stdout
    .split("\n")
    .slice(0, -1)
    .map((line) => line.split(" ").map(Number));
  const sum = (field: number) => processes.reduce((all, fields) => all + (fields[field] ?? Number.NaN), 0);
  return { processes: processes.length, rss: sum(0) / 1000, pss: sum(1) / 1000, cpu: sum(2) };
}
