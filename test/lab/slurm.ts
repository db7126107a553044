/**
 * A real Slurm on test hosts, as Debian has it and without systemd: accounting (MariaDB, slurmdbd) and slurmctld on one host, slurmd on each of the
 * others. All share a munge key and one slurm.conf; limits and associations are enforced, or nothing that is written would matter.
 */

import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Host, Outcome } from "./host.ts";

/** What hosts of such a lab need besides. */
export const slurmPackages: readonly string[] = [
  "mariadb-server",
  "munge",
  "slurm-client",
  "slurmctld",
  "slurmd",
  "slurmdbd",
];

export type Daemon = "slurmctld" | "slurmdbd" | "mariadbd" | "munged";

const run = "/run/slurm-lab";

export class Slurm {
  readonly controller: Host;
  readonly computes: readonly Host[];

  private constructor(controller: Host, computes: readonly Host[]) {
    this.controller = controller;
    this.computes = computes;
  }

  /** Starts all of it; resolves once every compute node is idle. */
  static async start(controller: Host, computes: readonly Host[]): Promise<Slurm> {
    const slurm = new Slurm(controller, computes);
    const key = randomBytes(1024);
    const config = slurmConf(
      controller.name,
      computes.map(({ name }) => name),
    );
    await Promise.all(
      [controller, ...computes].map(async (host) => {
        await host.write("/etc/munge/munge.key", key, 0o400);
        await host.write("/etc/slurm/slurm.conf", config);
        await host.write("/etc/slurm/cgroup.conf", "CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n");
        await ok(host, "sh", ["-euc", preparation]);
        await ok(host, "runuser", ["-u", "munge", "--", "/usr/sbin/munged"]);
      }),
    );
    await controller.write("/etc/slurm/slurmdbd.conf", slurmdbdConf, 0o600);
    await ok(controller, "chown", ["slurm:", "/etc/slurm/slurmdbd.conf"]);
    await slurm.up("mariadbd");
    await ok(controller, "mysql", ["-e", database]);
    await slurm.up("slurmdbd");
    await slurm.sacctmgr("-i", "add", "cluster", "lab");
    await slurm.up("slurmctld");
    for (const host of computes) await ok(host, "/usr/sbin/slurmd", ["-N", host.name]);
    await slurm.idle();
    return slurm;
  }

  /** Runs sacctmgr by hand on the controller: Slurm's own, whatever else PATH finds first. @throws Error if it fails. */
  async sacctmgr(...args: readonly string[]): Promise<string> {
    return (await ok(this.controller, "/usr/bin/sacctmgr", args)).stdout;
  }

  /** Rows of a listing, sorted, each with its columns. */
  async show(what: string, columns: string, ...more: readonly string[]): Promise<string[]> {
    const listing = await this.sacctmgr("-n", "-P", "show", what, ...more, `format=${columns}`);
    return listing
      .split("\n")
      .filter((line) => line !== "")
      .toSorted();
  }

  /** Who may use which account, `account|user`, less root. */
  async associations(): Promise<string[]> {
    const rows = await this.show("association", "account,user");
    return rows.filter((row) => !row.startsWith("root|") && !row.endsWith("|"));
  }

  /** Jobs that are not over, `user id|account|state`, sorted. */
  async jobs(): Promise<string[]> {
    const { stdout } = await ok(this.controller, "squeue", ["-a", "-h", "-o", "%U|%a|%T"]);
    return stdout
      .split("\n")
      .filter((line) => line !== "")
      .toSorted();
  }

  /** Runs something as a user, as after a login. */
  as(host: Host, user: string, ...command: readonly string[]): Promise<Outcome> {
    return host.run("runuser", ["-u", user, "--", "env", "-C", "/tmp", ...command]);
  }

  async up(daemon: Daemon): Promise<void> {
    const { controller } = this;
    if (daemon === "mariadbd") {
      controller.spawn("/usr/sbin/mariadbd", mariadb).stderr.resume();
      return this.#until("mysqladmin", ["ping"], /alive/);
    }
    const owner = daemon === "munged" ? "munge" : daemon === "slurmdbd" ? "slurm" : "root";
    await ok(controller, "runuser", ["-u", owner, "--", `/usr/sbin/${daemon}`]);
    if (daemon === "slurmdbd") return this.#until("sacctmgr", ["-n", "show", "cluster"], /^/);
    if (daemon === "slurmctld") return this.#until("scontrol", ["ping"], /UP/);
  }

  /** Ends one, and waits until it is gone. */
  async down(daemon: Daemon): Promise<void> {
    const pid = daemon === "munged" ? "/run/munge/munged.pid" : `${run}/${daemon}.pid`;
    const script = 'p=$(cat "$1"); kill "$p"; while [ -e "/proc/$p" ]; do sleep 0.02; done';
    await ok(this.controller, "sh", ["-euc", script, "sh", pid]);
  }

  /** Resolves once every node is idle: none is down or drained. */
  idle(): Promise<void> {
    return this.#until("sinfo", ["-h", "-o", "%T"], /^idle\n$/);
  }

  async #until(command: string, args: readonly string[], wanted: RegExp): Promise<void> {
    for (let end = Date.now() + 30_000; ; await sleep(50)) {
      const { code, stdout, stderr } = await this.controller.run(command, args);
      if (code === 0 && wanted.test(stdout)) return;
      if (Date.now() > end) throw new Error(`${command} ${args.join(" ")} never said ${wanted}: ${stdout} ${stderr}`);
    }
  }
}

async function ok(host: Host, command: string, args: readonly string[]): Promise<Outcome> {
  const outcome = await host.run(command, args, { timeout: 120_000 });
  if (outcome.code === 0) return outcome;
  throw new Error(`${host.name}: ${command} ${args.join(" ")}: ${outcome.stderr.trim()} ${outcome.stdout.trim()}`);
}

const preparation = `
mkdir -p ${run} /run/munge /run/mysqld /var/log/slurm /var/lib/slurm/slurmctld /var/spool/slurmd
chmod 1777 ${run} /tmp
chown munge: /run/munge /etc/munge/munge.key; chown -R munge: /var/log/munge /var/lib/munge
id mysql >/dev/null 2>&1 && chown mysql: /run/mysqld
chown slurm: /var/log/slurm /var/lib/slurm /var/lib/slurm/slurmctld`;

const mariadb: readonly string[] = [
  "--user=mysql",
  "--skip-networking",
  `--pid-file=${run}/mariadbd.pid`,
  "--innodb-buffer-pool-size=128M",
  "--innodb-lock-wait-timeout=900",
];

const database = `create database slurm_acct_db; create user slurm@localhost identified by 'slurm';
grant all on slurm_acct_db.* to slurm@localhost`;

const slurmdbdConf = `DbdHost=localhost
SlurmUser=slurm
AuthType=auth/munge
StorageType=accounting_storage/mysql
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm_acct_db
PidFile=${run}/slurmdbd.pid
LogFile=/var/log/slurm/dbd.log
`;

function slurmConf(controller: string, computes: readonly string[]): string {
  return `ClusterName=lab
SlurmctldHost=${controller}
SlurmUser=slurm
AuthType=auth/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=${run}/slurmctld.pid
SlurmdPidFile=${run}/slurmd.pid
SlurmctldLogFile=/var/log/slurm/ctld.log
SlurmdLogFile=/var/log/slurm/d.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=2
GroupUpdateTime=5
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStorageEnforce=associations,limits,qos,safe
NodeName=${computes.join(",")} CPUs=4 RealMemory=2000
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`;
}
