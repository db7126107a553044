/**
 * A real sshd in a test host, set up as Rollcall's nodes are: keys from root-owned files by user name, accounts through
 * PAM, home folders made at the first login, no passwords. And a client to try it with.
 */

import { createInterface } from "node:readline";
import type { Host, Outcome } from "./host.ts";

export interface Sshd extends AsyncDisposable {
  /** What it has said since its start: why a login was refused. */
  log(): readonly string[];
}

/** The two ways in which sshd may be led to the keys, as docs/operations.md words them. */
const keysFrom = {
  file: "AuthorizedKeysFile /etc/ssh/authorized_keys.d/%u",
  command: `AuthorizedKeysFile none
AuthorizedKeysCommand /usr/bin/cat /etc/ssh/authorized_keys.d/%u
AuthorizedKeysCommandUser nobody`,
} as const;

const config = `Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM yes
StrictModes yes
LogLevel VERBOSE
`;

// The layer's host key would be every host's.
const preparation = `
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key
mkdir -p /etc/ssh/authorized_keys.d
grep -q pam_mkhomedir /etc/pam.d/sshd ||
  echo "session required pam_mkhomedir.so skel=/etc/skel umask=0077" >>/etc/pam.d/sshd`;

/** Starts sshd, and waits until it listens on port 22. */
export async function startSshd(host: Host, keys: keyof typeof keysFrom = "file"): Promise<Sshd> {
  await host.write("/etc/ssh/sshd_config", `${config}${keysFrom[keys]}\n`);
  const { code, stderr } = await host.run("sh", ["-euc", preparation]);
  if (code !== 0) throw new Error(`${host.name}: prepare sshd: ${stderr.trim()}`);
  const sshd = host.spawn("/usr/sbin/sshd", ["-D", "-e"]);
  const ended = new Promise<void>((resolve) => void sshd.once("exit", () => resolve()));
  const log: string[] = [];
  await new Promise<void>((resolve, reject) => {
    createInterface({ input: sshd.stderr })
      .on("line", (line) => {
        log.push(line);
        if (line.startsWith("Server listening on 0.0.0.0")) resolve();
      })
      .on("close", () => reject(new Error(`${host.name}: sshd ended: ${log.join("; ")}`)));
  });
  return {
    log: () => log,
    [Symbol.asyncDispose]: async () => {
      sshd.kill("SIGTERM");
      await ended;
    },
  };
}

/** Logs in with a key file of the client's, never by another way, and runs a command there. Refused: code 255. */
export function ssh(from: Host, to: Host, user: string, keyFile: string, command: string): Promise<Outcome> {
  const options = {
    BatchMode: "yes",
    ConnectTimeout: "5",
    IdentitiesOnly: "yes",
    LogLevel: "ERROR",
    StrictHostKeyChecking: "no",
    UserKnownHostsFile: "/dev/null",
  };
  const flags = Object.entries(options).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  return from.run("ssh", ["-F", "none", "-i", keyFile, ...flags, `${user}@${to.name}`, command]);
}
