/** What stays when the story is over, for whoever wants to look around: a script that enters the machines of the stage. */

import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Place } from "./stage.ts";
import type { Terminal } from "./terminal.ts";

/** Says what to try, and waits for the signal. `tries` are a place's name and a command each. */
export async function keep(
  places: readonly Place[],
  tries: readonly string[],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  await using folder = await mkdtempDisposable(join(tmpdir(), "rollcall-demo-in-"));
  const script = join(folder.path, "in");
  // It holds the operator's token: for nobody else to read.
  await writeFile(script, scriptFor(places), { mode: 0o700 });
  terminal.say("It all goes on running, until Ctrl-C. Try, in another terminal:");
  terminal.show(tries.map((line) => `${script} ${line}`).join("\n"));
  await new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function scriptFor(places: readonly Place[]): string {
  const cases = places.map(({ name, entry }) => `  ${name}) exec ${entry.map(quoted).join(" ")} "$@" ;;`);
  const names = places.map(({ name }) => name).join(", ");
  return `#!/bin/sh
# in HOST COMMAND...   Runs a command on a machine of the demo that is still running.
host=$1
[ $# -gt 1 ] && shift || { echo "usage: in HOST COMMAND..., where HOST is one of ${names}" >&2; exit 2; }
case $host in
${cases.join("\n")}
  *) echo "no host $host: there are ${names}" >&2; exit 2 ;;
esac
`;
}

/** A word as the shell takes it literally. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
