/** `rollcall user`: who has which POSIX identity. */

import { Command } from "commander";
import {
  type DirectoryUser,
  GetUserResponseSchema,
  ListLocksResponseSchema,
  ListUsersResponseSchema,
  LockUserResponseSchema,
  UnlockUserResponseSchema,
} from "../proto/gen/rollcall/v1/directory_pb.ts";
import { type InOrg, orgOption, type Run, wholeList } from "./command.ts";
import { plain } from "./plain.ts";
import { card, table } from "./table.ts";
import { showTime } from "./time.ts";

export function userCommand(run: Run): Command {
  const command = new Command("user").description("people, and their POSIX identities");
  command
    .command("list")
    .description("list people by userName")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, _, { org }) => {
        const found = await wholeList("users", (page) => directory.listUsers({ org, ...page }));
        show(ListUsersResponseSchema, found, ({ users }) =>
          table(
            ["user", "name", "uid", "active", "full name"],
            users.map((user) => [user.userName, user.posixName, `${user.uid}`, isActive(user), user.displayName]),
          ),
        );
      }),
    );
  command
    .command("show")
    .description("show one person: groups, keys, clusters")
    .argument("<user>", "userName, POSIX name or id")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, [user = ""], { org }) => {
        show(GetUserResponseSchema, await directory.getUser({ org, user }), (found) => showUser(found.user));
      }),
    );
  command
    .command("lock")
    .description("lock one person out of every cluster, whatever the identity provider says")
    .argument("<user>", "userName, POSIX name or id")
    .addOption(orgOption())
    .requiredOption("--reason <text>", "why, for whoever reads the list of locks")
    .action(
      run<InOrg & { reason: string }>(async ({ directory, show }, [user = ""], { org, reason }) => {
        const done = await directory.lockUser({ org, user, reason });
        show(LockUserResponseSchema, done, ({ lock }) => `${plain(lock?.userName ?? user)} is locked.\n`);
      }),
    );
  command
    .command("unlock")
    .description("lift every lock that holds one person")
    .argument("<user>", "userName, POSIX name or id; of one who is gone, the userName")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, [user = ""], { org }) => {
        const done = await directory.unlockUser({ org, user });
        show(UnlockUserResponseSchema, done, ({ locks }) => `${plain(locks[0]?.userName ?? user)} is unlocked.\n`);
      }),
    );
  command
    .command("locks")
    .description("list locks, also those of people who are gone")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, _, { org }) => {
        const found = await wholeList("locks", (page) => directory.listLocks({ org, ...page }));
        show(ListLocksResponseSchema, found, ({ locks }) =>
          table(
            ["user", "made by", "since", "reason"],
            locks.map(({ userName, origin, createdAt, reason }) => [userName, origin, showTime(createdAt), reason]),
          ),
        );
      }),
    );
  return command;
}

function showUser(user: DirectoryUser | undefined): string {
  if (!user) return "";
  return card({
    user: user.userName,
    name: user.posixName,
    uid: `${user.uid}`,
    active: isActive(user),
    "full name": user.displayName,
    groups: user.groups.join(", "),
    clusters: user.clusters.join(", "),
    keys: user.sshKeys.map(({ fingerprint }) => fingerprint).join(", "),
    created: showTime(user.createdAt),
    id: user.id,
  });
}

function isActive({ active }: DirectoryUser): string {
  return active ? "yes" : "no";
}
