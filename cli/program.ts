/** The command line of `rollcall`: its commands and options, and how each run ends. */

import { Command, CommanderError, Option } from "commander";
import about from "../package.json" with { type: "json" };
import { auditCommand } from "./audit.ts";
import { clusterCommand } from "./cluster.ts";
import type { Run } from "./command.ts";
import { type Exit, exit, failureOf } from "./exit.ts";
import { groupCommand } from "./group.ts";
import { holdCommand } from "./hold.ts";
import { importCommand } from "./import.ts";
import { keyCommand } from "./key.ts";
import { nodeCommand } from "./node.ts";
import { orgCommand } from "./org.ts";
import { plain } from "./plain.ts";
import { rolloutCommand } from "./rollout.ts";
import { ruleCommand } from "./rule.ts";
import { openSession, type Settings } from "./session.ts";
import { joinTokenCommand, scimTokenCommand } from "./token.ts";
import { userCommand } from "./user.ts";

/** What the program has of its surroundings. */
export interface World {
  readonly print: (text: string) => void;
  readonly complain: (text: string) => void;
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const environment = `
Environment: ROLLCALL_SERVER, ROLLCALL_TOKEN and ROLLCALL_CA stand for --server, --token and --ca.
Exit codes: 0 done, 1 failed, 2 usage, 3 not found, 4 denied, 5 still progressing, 6 degraded, 7 precondition,
8 unreachable.`;

/** Runs one command line, without the program's name. */
export async function rollcall(words: readonly string[], world: World): Promise<Exit> {
  const { complain } = world;
  let ended: Exit = exit.done;
  let asked: string | undefined;
  const run: Run = (act) =>
    async function (this: Command) {
      const settings = this.optsWithGlobals<Settings>();
      asked = settings.server;
      using session = openSession(settings, world);
      ended = (await act(session, this.processedArgs as string[], this.opts())) ?? exit.done;
    };
  try {
    await program(run, world).parseAsync(words, { from: "user" });
    return ended;
  } catch (error) {
    // Commander has said what was wrong, or shown the help that was asked for.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exit.done : exit.usage;
    const failure = failureOf(error, asked);
    complain(`rollcall: ${failure.text}\n`);
    return failure.exit;
  }
}

function program(run: Run, { print, complain }: World): Command {
  const root = new Command("rollcall")
    .description("who may use a Slurm cluster, and which node knows it")
    .version(about.version)
    .addOption(new Option("--server <url>", "https://HOST:PORT of the server").env("ROLLCALL_SERVER"))
    .addOption(new Option("--token <token>", "operator token (others can see it in ps)").env("ROLLCALL_TOKEN"))
    .addOption(new Option("--token-file <path>", "file with the operator token"))
    .addOption(new Option("--ca <path>", "the server's ca.pem; the system's authorities by default").env("ROLLCALL_CA"))
    .addOption(new Option("-o, --output <form>", "how to print").choices(["table", "json"]).default("table"))
    .addHelpText("after", environment);
  for (const make of [
    orgCommand,
    clusterCommand,
    ruleCommand,
    holdCommand,
    importCommand,
    nodeCommand,
    rolloutCommand,
    userCommand,
    groupCommand,
    keyCommand,
    scimTokenCommand,
    joinTokenCommand,
    auditCommand,
  ]) {
    root.addCommand(make(run));
  }
  // Inherited at the making of a subcommand, not at its adding: so set on all of them.
  for (const command of [root, ...root.commands, ...root.commands.flatMap(({ commands }) => commands)]) {
    command.exitOverride().configureOutput({
      writeOut: print,
      writeErr: complain,
      outputError: (text, write) =>
        write(
          `rollcall: ${plain(
            text
              .replace(/^error: /, "")
              .trim()
              .replaceAll("\n", " "),
          )}\n`,
        ),
    });
  }
  return root;
}
