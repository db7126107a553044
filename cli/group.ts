/** `rollcall group`: groups, and who is in them. Those of an identity provider can be looked at, not changed. */

import { Command } from "commander";
import {
  AddGroupMembersResponseSchema,
  CreateGroupResponseSchema,
  type DirectoryGroup,
  GetGroupResponseSchema,
  ListGroupsResponseSchema,
  RemoveGroupMembersResponseSchema,
  RemoveGroupResponseSchema,
  UpdateGroupResponseSchema,
} from "../proto/gen/rollcall/v1/directory_pb.ts";
import { type InOrg, orgOption, type Run, wholeList } from "./command.ts";
import { parseId } from "./number.ts";
import { plain } from "./plain.ts";
import { card, table } from "./table.ts";
import { showTime } from "./time.ts";

interface Members extends InOrg {
  readonly user: readonly string[];
  readonly group: readonly string[];
}

export function groupCommand(run: Run): Command {
  const command = new Command("group").description("groups, and who is in them");
  command
    .command("list")
    .description("list groups by display name")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, _, { org }) => {
        const found = await wholeList("groups", (page) => directory.listGroups({ org, ...page }));
        show(ListGroupsResponseSchema, found, ({ groups }) =>
          table(
            ["group", "name", "gid", "made by"],
            groups.map(({ displayName, posixName, gid, origin }) => [displayName, posixName, `${gid}`, origin]),
          ),
        );
      }),
    );
  command
    .command("show")
    .description("show one group and its members")
    .argument("<group>", "display name or id")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, [group = ""], { org }) => {
        show(GetGroupResponseSchema, await directory.getGroup({ org, group }), (found) => showGroup(found.group));
      }),
    );
  withMembers(
    command
      .command("create")
      .description("make a local group")
      .argument("<group>", "its display name, by which access rules know it")
      .option("--gid <number>", "the GID that shall be its own"),
  ).action(
    run<Members & { gid?: string }>(async ({ directory, show }, [displayName = ""], { org, gid, user, group }) => {
      const number = gid === undefined ? {} : { gid: parseId("--gid", gid) };
      const made = await directory.createGroup({ org, displayName, ...number, users: [...user], groups: [...group] });
      show(CreateGroupResponseSchema, made, (done) => showGroup(done.group));
    }),
  );
  command
    .command("rename")
    .description("give a local group another display name; its rules go by that, its GID and POSIX name stay")
    .argument("<group>", "display name or id")
    .argument("<name>", "the new display name")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, [group = "", displayName = ""], { org }) => {
        const done = await directory.updateGroup({ org, group, displayName });
        show(UpdateGroupResponseSchema, done, () => plain(`Group ${group} is ${displayName} now.`).concat("\n"));
      }),
    );
  command
    .command("remove")
    .description("remove a local group; its members lose what it granted")
    .argument("<group>", "display name or id")
    .option("--urgent", "past the guard: nothing waits")
    .addOption(orgOption())
    .action(
      run<InOrg & { urgent?: boolean }>(async ({ directory, show }, [group = ""], { org, urgent = false }) => {
        const done = await directory.removeGroup({ org, group, urgent });
        show(RemoveGroupResponseSchema, done, () => plain(`Group ${group} is removed.`).concat("\n"));
      }),
    );
  withMembers(
    command
      .command("add")
      .description("add people and groups to a local group")
      .argument("<group>", "display name or id"),
  ).action(
    run<Members>(async ({ directory, show }, [group = ""], { org, user, group: groups }) => {
      const done = await directory.addGroupMembers({ org, group, users: [...user], groups: [...groups] });
      const count = user.length + groups.length;
      show(AddGroupMembersResponseSchema, done, () => plain(`${count} in ${group}.`).concat("\n"));
    }),
  );
  withMembers(
    command
      .command("drop")
      .description("remove people and groups from a local group")
      .argument("<group>", "display name or id")
      .option("--urgent", "past the guard: nothing waits"),
  ).action(
    run<Members & { urgent?: boolean }>(async ({ directory, show }, [group = ""], options) => {
      const { org, user, group: groups, urgent = false } = options;
      const done = await directory.removeGroupMembers({ org, group, urgent, users: [...user], groups: [...groups] });
      const count = user.length + groups.length;
      show(RemoveGroupMembersResponseSchema, done, () => plain(`${count} out of ${group}.`).concat("\n"));
    }),
  );
  return command;
}

/** Adds `--user` and `--group`, which may be given often. */
function withMembers(command: Command): Command {
  const more = (value: string, before: readonly string[]): string[] => [...before, value];
  return command
    .option("--user <user>", "userName, POSIX name or id; may be given often", more, [])
    .option("--group <group>", "display name or id of a group; may be given often", more, [])
    .addOption(orgOption());
}

function showGroup(group: DirectoryGroup | undefined): string {
  if (!group) return "";
  const { displayName, posixName, gid, origin, members, createdAt, id } = group;
  const named = (type: string): string =>
    members
      .filter((member) => member.type === type)
      .map(({ name }) => name)
      .join(", ");
  return card({
    group: displayName,
    name: posixName,
    gid: `${gid}`,
    "made by": origin,
    users: named("user"),
    groups: named("group"),
    created: showTime(createdAt),
    id,
  });
}
