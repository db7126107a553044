/** Ada's laptop: her key pair, and her way in. */

import { expect } from "./expect.ts";
import type { Place, Stage } from "./stage.ts";
import type { Terminal } from "./terminal.ts";

/** So that nobody is asked anything: not whether a new host is the right one, and not for a password. */
const sshConfig = `Host *
  BatchMode yes
  ConnectTimeout 5
  LogLevel ERROR
  StrictHostKeyChecking accept-new
`;

/** Makes her key, of which only the public half ever leaves. */
export async function openLaptop(stage: Stage, terminal: Terminal): Promise<{ place: Place; publicKey: string }> {
  const place = await stage.place("laptop");
  const folder = place.path("/root/.ssh");
  await place.write(`${folder}/config`, sshConfig, 0o600);
  await terminal.type(place, `ssh-keygen -q -t ed25519 -N "" -C ada@laptop -f ${folder}/id_ed25519`);
  const { code, stdout, stderr } = await place.run(`cat ${folder}/id_ed25519.pub`);
  expect(code === 0, "a public key", stderr);
  return { place, publicKey: stdout };
}
