/** `rollcall user`: who has which POSIX identity. */

import { Command, Option } from "commander";
import {
  CreateUserResponseSchema,
  type DirectoryUser,
  GetUserResponseSchema,
  ListLocksResponseSchema,
  ListUsersResponseSchema,
  LockUserResponseSchema,
  RemoveUserResponseSchema,
  RenameUserResponseSchema,
  type SlurmStanding,
  SlurmUse_State,
  UnlockUserResponseSchema,
  UpdateUserResponseSchema,
} from "../proto/gen/rollcall/v1/directory_pb.ts";
import { type InOrg, orgOption, type Run, wholeList } from "./command.ts";
import { UsageError } from "./exit.ts";
import { parseId } from "./number.ts";
import { plain } from "./plain.ts";
import { card, table } from "./table.ts";
import { showTime } from "./time.ts";

interface NewUser extends InOrg {
  readonly fullName: string;
  readonly givenName: string;
  readonly familyName: string;
  readonly email: string;
  readonly uid?: string;
  readonly home: string;
  readonly shell: string;
}

interface ChangedUser extends InOrg {
  readonly urgent?: boolean;
  readonly active?: "yes" | "no";
  readonly fullName?: string;
  readonly email?: string;
  readonly home?: string;
  readonly shell?: string;
}

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
    .description(
      "show one person: groups, keys, clusters, how they stand in Slurm; also who is gone, while nodes hold them",
    )
    .argument("<user>", "userName, POSIX name, UID or id")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, [user = ""], { org }) => {
        show(GetUserResponseSchema, await directory.getUser({ org, user }), (found) => showUser(found.user));
      }),
    );
  command
    .command("create")
    .description("make a local person, whom no identity provider knows")
    .argument("<user>", "userName: an e-mail address or a word")
    .option("--full-name <text>", "for passwd and lists", "")
    .option("--given-name <text>", "for the org's rule of POSIX names", "")
    .option("--family-name <text>", "for the same", "")
    .option("--email <address>", "for the same", "")
    .option("--uid <number>", "the UID that shall be theirs")
    .option("--home <path>", "home directory of their own", "")
    .option("--shell <path>", "login shell of their own", "")
    .addOption(orgOption())
    .action(
      run<NewUser>(async ({ directory, show }, [userName = ""], { uid, fullName, ...stated }) => {
        const number = uid === undefined ? {} : { uid: parseId("--uid", uid) };
        const made = await directory.createUser({ userName, displayName: fullName, ...stated, ...number });
        show(CreateUserResponseSchema, made, (done) => showUser(done.user));
      }),
    );
  command
    .command("set")
    .description("change a person: home and shell of anybody, the rest of local people")
    .argument("<user>", "userName, POSIX name or id")
    .addOption(new Option("--active <yes|no>", "whether they may have access at all").choices(["yes", "no"]))
    .option("--full-name <text>", "for passwd and lists")
    .option("--email <address>", "e-mail address")
    .option("--home <path>", 'home directory of their own; "": by the rules')
    .option("--shell <path>", 'login shell of their own; "": by the rules')
    .option("--urgent", "past the guard: nothing waits")
    .addOption(orgOption())
    .action(
      run<ChangedUser>(
        async ({ directory, show }, [user = ""], { org, active, fullName, urgent = false, ...stated }) => {
          if ([active, fullName, ...Object.values(stated)].every((value) => value === undefined)) {
            throw new UsageError(
              "nothing to set: give at least one of --active, --full-name, --email, --home, --shell",
            );
          }
          const done = await directory.updateUser({
            org,
            user,
            urgent,
            ...stated,
            ...(active !== undefined && { active: active === "yes" }),
            ...(fullName !== undefined && { displayName: fullName }),
          });
          show(UpdateUserResponseSchema, done, (changed) => showUser(changed.user));
        },
      ),
    );
  command
    .command("rename")
    .description("give a person another POSIX name, on every node; the old one stays taken for ever")
    .argument("<user>", "userName, POSIX name or id")
    .argument("<name>", "the new POSIX name")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ directory, show }, [user = "", posixName = ""], { org }) => {
        const done = await directory.renameUser({ org, user, posixName });
        show(RenameUserResponseSchema, done, (renamed) => showUser(renamed.user));
      }),
    );
  command
    .command("remove")
    .description("remove a local person everywhere; UID and POSIX name stay taken for ever")
    .argument("<user>", "userName, POSIX name or id")
    .option("--urgent", "past the guard: nothing waits")
    .addOption(orgOption())
    .action(
      run<InOrg & { urgent?: boolean }>(async ({ directory, show }, [user = ""], { org, urgent = false }) => {
        const done = await directory.removeUser({ org, user, urgent });
        show(RemoveUserResponseSchema, done, () => plain(`${user} is removed.`).concat("\n"));
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
    user: user.removed ? "removed from the directory; nodes hold what is below until it is let go" : user.userName,
    name: user.posixName,
    uid: `${user.uid}`,
    active: isActive(user),
    "full name": user.displayName,
    home: user.home || "by rule",
    shell: user.shell || "by rule",
    "made by": user.origin,
    groups: user.groups.join(", "),
    clusters: user.clusters.join(", "),
    ...(user.held.length > 0 && { held: `${user.held.join(", ")}: see \`rollcall hold list\`` }),
    ...Object.fromEntries(user.slurm.map((standing) => [`slurm of ${standing.cluster}`, showSlurm(standing)])),
    keys: user.sshKeys.map(({ fingerprint }) => fingerprint).join(", "),
    created: showTime(user.createdAt),
    id: user.id,
  });
}

/** How they stand with each account of a cluster: `physics (default) settled; optics waiting for c1, since 2026-11-02T12:00:00Z`. */
function showSlurm({ leaving, accounts }: SlurmStanding): string {
  const uses = accounts.map(({ account, isDefault, state, revision, since, waitingFor, jobsFinish, reason }) => {
    const on = waitingFor.length === 0 ? "" : ` for ${waitingFor.join(", ")}`;
    const why = reason === "" ? "" : `: ${reason}`;
    const name = isDefault ? `${account} (default)` : account;
    switch (state) {
      case SlurmUse_State.WAITING:
        return `${name} waiting${on}, since ${showTime(since)}`;
      case SlurmUse_State.SENT:
        return `${name} sent at r${revision}, not settled${why}`;
      case SlurmUse_State.SETTLED:
        return `${name} settled at r${revision}${why}`;
      case SlurmUse_State.LEAVING:
        return `${name} ended at r${revision}, jobs ${jobsFinish ? "left to finish" : "being cancelled"} since ${showTime(since)}${why}`;
      default:
        return `${name} unknown`;
    }
  });
  return `${leaving ? "leaving: " : ""}${uses.join("; ")}`;
}

function isActive({ active }: DirectoryUser): string {
  return active ? "yes" : "no";
}
