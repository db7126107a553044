/** `rollcall user`: who has which POSIX identity. */

import { Command } from "commander";
import {
  type DirectoryUser,
  GetUserResponseSchema,
  ListUsersResponseSchema,
} from "../proto/gen/rollcall/v1/directory_pb.ts";
import { type InOrg, orgOption, type Run, wholeList } from "./command.ts";
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
