/** A real PostgreSQL, Debian's, on a socket in a folder of its own; and databases in it. */

import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chown, glob, mkdir, readFile, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { openStore } from "../../server/store/engine.ts";
import { Started } from "./started.ts";

const socketName = ".s.PGSQL.5432";

export class Postgres implements AsyncDisposable {
  readonly #folder: string;
  readonly #programs: string;
  readonly #as: { uid?: number; gid?: number };
  readonly #settings: readonly string[];
  #server: Started | undefined;
  #standby: Started | undefined;

  private constructor(
    folder: string,
    programs: string,
    as: { uid?: number; gid?: number },
    settings: readonly string[],
  ) {
    const ours = ["listen_addresses=", "max_connections=300", `unix_socket_directories=${folder}`];
    this.#settings = [...ours, ...settings];
    this.#folder = folder;
    this.#programs = programs;
    this.#as = as;
  }

  /**
   * Makes one in a folder that does not exist yet, with more settings if they are given. It refuses to run as root: then it
   * runs as Debian's `postgres`.
   */
  static async start(folder: string, settings: readonly string[] = []): Promise<Postgres> {
    const [initdb] = await Array.fromAsync(glob("/usr/lib/postgresql/*/bin/initdb"));
    if (!initdb) throw new Error("no PostgreSQL on this machine: install Debian's postgresql");
    const as: { uid?: number; gid?: number } = process.getuid?.() === 0 ? await userOf("postgres") : {};
    await makeFolder(folder, as);
    const postgres = new Postgres(folder, initdb.replace(/initdb$/, ""), as, settings);
    // A collation that is not by code point: what is sorted or compared must not depend on it.
    const collation = ["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"];
    const args = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync", ...collation];
    await promisify(execFile)(initdb, ["--pgdata", join(folder, "data"), ...args], { ...as, cwd: folder });
    await postgres.up();
    return postgres;
  }

  async up(): Promise<void> {
    this.#server = this.#run("data");
    await this.#server.says(/ready to accept connections/);
  }

  /** Adds a standby that has every commit before it is answered. */
  async addStandby(): Promise<void> {
    const socket = join(this.#folder, "standby");
    await makeFolder(socket, this.#as);
    const to = ["--pgdata", join(this.#folder, "standby-data"), "--write-recovery-conf", "--no-sync"];
    const from = ["--host", this.#folder, "--username", "postgres", "--checkpoint=fast"];
    const as = { ...this.#as, cwd: this.#folder };
    await promisify(execFile)(join(this.#programs, "pg_basebackup"), [...to, ...from], as);
    this.#standby = this.#run("standby-data", [`unix_socket_directories=${socket}`]);
    await this.#standby.says(/ready to accept read-only connections/);
    await ask(this.#folder, "alter system set synchronous_standby_names = '*'");
    await ask(this.#folder, "select pg_reload_conf()");
    for (let state: unknown; state !== "sync"; await sleep(50)) {
      state = (await ask(this.#folder, "select sync_state from pg_stat_replication"))[0]?.["sync_state"];
    }
  }

  /** The standby becomes the one that is written to, where the other was, which is down. */
  async takeOver(): Promise<void> {
    const socket = join(this.#folder, "standby");
    await ask(socket, "select pg_promote()");
    await rm(join(this.#folder, socketName), { force: true });
    await symlink(join(socket, socketName), join(this.#folder, socketName));
  }

  /** SIGINT: at once, as a fail-over does it; SIGKILL: as a power cut. */
  async down(signal: "SIGINT" | "SIGKILL"): Promise<void> {
    await this.#server?.end(signal);
  }

  #run(data: string, more: readonly string[] = []): Started {
    const flags = [...this.#settings, ...more].flatMap((setting) => ["-c", setting]);
    const args = ["-D", join(this.#folder, data), ...flags];
    return new Started(spawn(join(this.#programs, "postgres"), args, { ...this.#as, cwd: this.#folder }));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down("SIGINT");
    await this.#standby?.end("SIGINT");
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** The PostgreSQL that the tests' project runs on: its socket's folder; undefined: it runs on SQLite. */
const ours = process.env["ROLLCALL_TEST_POSTGRES"];

export const isEmbedded = ours === undefined;

/** A database for a test: an SQLite file in its folder, or a new one of the PostgreSQL that its project runs on. */
export async function newDatabase(folder: string): Promise<string> {
  return isEmbedded ? join(folder, "rollcall.db") : createDatabase({ template: prepared });
}

/** Makes the database that `newDatabase` copies: with this program's schema, which takes longer to make than to copy. */
export async function prepareDatabase(socket: string): Promise<void> {
  const url = await createDatabase({ socket, name: prepared });
  await (await openStore(url, Date.now))[Symbol.asyncDispose]();
}

const prepared = "prepared";

/** How many runs a property gets, each with a database of its own: PostgreSQL takes a tenth of a second to make one. */
export function runs(embedded: number): number {
  return isEmbedded ? embedded : Math.ceil(embedded / 16);
}

/** Makes a database, empty or as the template is, in the project's PostgreSQL or another one; gives its URL. */
export async function createDatabase({
  socket = ours,
  name = `test_${randomUUID().replaceAll("-", "")}`,
  template = "template1",
} = {}): Promise<string> {
  if (socket === undefined) throw new Error("these tests run on SQLite");
  await ask(socket, `create database ${name} template ${template}`);
  return urlOf(socket, name);
}

async function ask(socket: string, statement: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: urlOf(socket, "postgres") });
  await client.connect();
  const { rows } = await client.query<Record<string, unknown>>(statement);
  await client.end();
  return rows;
}

/** A folder that only whoever runs PostgreSQL may enter. */
async function makeFolder(path: string, { uid, gid }: { uid?: number; gid?: number }): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  if (uid !== undefined) await chown(path, uid, gid ?? uid);
}

function urlOf(socket: string, database: string): string {
  return `postgres://postgres@/${database}?host=${encodeURIComponent(socket)}`;
}

async function userOf(name: string): Promise<{ uid: number; gid: number }> {
  const line = (await readFile("/etc/passwd", "utf8")).split("\n").find((each) => each.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(":") ?? [];
  if (uid === undefined || gid === undefined) throw new Error(`no user ${name} on this machine`);
  return { uid: Number(uid), gid: Number(gid) };
}
