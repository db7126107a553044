/** `rollcall key`: the public SSH keys of people. */

import { text } from "node:stream/consumers";
import { Command } from "commander";
import { parseSshKey, printSshKey } from "../identity/ssh-key.ts";
import {
  AddSshKeyResponseSchema,
  GetUserResponseSchema,
  RemoveSshKeyResponseSchema,
} from "../proto/gen/rollcall/v1/directory_pb.ts";
import { type InOrg, orgOption, type Run } from "./command.ts";
import { plain } from "./plain.ts";
import { readText } from "./session.ts";
import { table } from "./table.ts";
import { parseWhen, showTime } from "./time.ts";

interface NewKey extends InOrg {
  readonly file: string;
  readonly expires?: string;
}

export function keyCommand(run: Run): Command {
  const command = new Command("key").description("public SSH keys of people");
  command
    .command("add")
    .description("add a public key to a person")
    .argument("<user>", "userName, POSIX name or id")
    .requiredOption("--file <path>", "a .pub file, or - for standard input")
    .option("--expires <when>", "remove it by itself: 2027-01-31 (UTC), 2027-01-31T12:00:00Z, or in 90d")
    .addOption(orgOption())
    .action(
      run<NewKey>(async ({ directory, show, now }, [user = ""], { org, file, expires }) => {
        const until = expires === undefined ? {} : { expiresAt: parseWhen("--expires", expires, now()) };
        const given = file === "-" ? await text(process.stdin) : readText("--file", file);
        // Parsed here first: a private key that was given by mistake never leaves this machine.
        const publicKey = printSshKey(parseSshKey(given));
        show(AddSshKeyResponseSchema, await directory.addSshKey({ org, user, publicKey, ...until }), ({ sshKey }) =>
          plain(`Key ${sshKey?.fingerprint} added to ${user}.`).concat("\n"),
        );
      }),
    );
  command
    .command("list")
    .description("list a person's keys")
    .argument("<user>", "userName, POSIX name or id")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, [user = ""], { org }) => {
        show(GetUserResponseSchema, await directory.getUser({ org, user }), (found) =>
          table(
            ["fingerprint", "type", "comment", "added", "expires"],
            (found.user?.sshKeys ?? []).map((key) => {
              return [key.fingerprint, key.type, key.comment, showTime(key.createdAt), showTime(key.expiresAt)];
            }),
          ),
        );
      }),
    );
  command
    .command("remove")
    .description("remove a key from a person, on every node")
    .argument("<user>", "userName, POSIX name or id")
    .argument("<fingerprint>", "SHA256:..., as `rollcall key list` shows it")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, [user = "", fingerprint = ""], { org }) => {
        const done = await directory.removeSshKey({ org, user, fingerprint });
        show(RemoveSshKeyResponseSchema, done, () => plain(`Key ${fingerprint} removed from ${user}.`).concat("\n"));
      }),
    );
  return command;
}
