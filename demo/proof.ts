/** That a node knows ada, or does not: asked of what people and programs ask, not of Rollcall. */

import { expect } from "./expect.ts";
import type { NodeName, Nodes } from "./nodes.ts";
import type { Place, Stage } from "./stage.ts";
import type { Terminal } from "./terminal.ts";

export interface Proof {
  knows(name: NodeName): Promise<void>;
  knowsNot(name: NodeName): Promise<void>;
  /** Her key opens login-1. */
  opens(): Promise<void>;
  opensNot(): Promise<void>;
}

const passwd = /^ada:x:(\d+):\1:Ada Lovelace:\/home\/ada:\/bin\/bash$/m;

export function proofOn(stage: Stage, nodes: Nodes, laptop: Place, terminal: Terminal): Proof {
  return stage.kind === "hosts" ? byLookup(nodes, laptop, terminal) : byFiles(nodes, terminal);
}

/** Through glibc, PAM and sshd. */
function byLookup(nodes: Nodes, laptop: Place, terminal: Terminal): Proof {
  return {
    knows: async (name) => {
      const record = await terminal.type(nodes[name].place, "getent passwd ada");
      const [, uid = "none"] = passwd.exec(record) ?? [];
      const id = await terminal.type(nodes[name].place, "id ada");
      expect(id.startsWith(`uid=${uid}(ada) gid=${uid}(ada)`), `ada to be one person on ${name}`, record + id);
      expect(id.includes("(slurm-users)"), `ada in slurm-users on ${name}`, id);
    },
    knowsNot: async (name) => {
      await terminal.type(nodes[name].place, "getent passwd ada || echo nobody", { is: "nobody\n" });
    },
    opens: async () => {
      const id = await terminal.type(laptop, "ssh ada@login-1 id");
      expect(/^uid=\d+\(ada\) .*\(slurm-users\)/.test(id), "ada to sign in as herself", id);
    },
    opensNot: async () => {
      await terminal.type(laptop, "ssh ada@login-1 id", { code: 255 });
    },
  };
}

/** In the files that libnss-cache and sshd would read. */
function byFiles(nodes: Nodes, terminal: Terminal): Proof {
  return {
    knows: async (name) => {
      const records = await terminal.type(nodes[name].place, "grep -h ada etc/passwd.cache etc/group.cache");
      expect(passwd.test(records), `ada's record on ${name}`, records);
      expect(/^slurm-users:.*\bada\b/m.test(records), `ada in slurm-users on ${name}`, records);
    },
    knowsNot: async (name) => {
      await terminal.type(nodes[name].place, "grep -h ada etc/passwd.cache etc/group.cache || echo nobody", {
        is: "nobody\n",
      });
    },
    opens: async () => {
      const keys = await terminal.type(nodes["login-1"].place, "cat etc/ssh/authorized_keys.d/ada");
      expect(/^ssh-ed25519 \S+/.test(keys), "ada's key on login-1", keys);
    },
    opensNot: async () => {
      await terminal.type(nodes["login-1"].place, "ls etc/ssh/authorized_keys.d | grep ada || echo no key", {
        is: "no key\n",
      });
    },
  };
}
