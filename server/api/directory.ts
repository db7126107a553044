/** DirectoryService: who has which POSIX identity, and their SSH keys. */

import type { ServiceImpl } from "@connectrpc/connect";
import { fingerprint } from "../../identity/ssh-key.ts";
import {
  type DirectoryService,
  type DirectoryUser,
  DirectoryUserSchema,
  type UserLock,
  UserLockSchema,
  type UserSshKey,
  UserSshKeySchema,
} from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { parseTime, printTime } from "../../proto/wire.ts";
import { editAccount, localInput, renameAccount } from "../directory/accounts.ts";
import { orgId } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import { addKey, removeKey } from "../directory/keys.ts";
import { listLocks, lockedAmong, lockUser, unlockUser } from "../directory/locks.ts";
import { createUser, everything, listUsers, type Portrait, portray, removeUser, userId } from "../directory/users.ts";
import type { Fleet } from "../rollout/fleet.ts";
import type { Lock } from "../store/locks.ts";
import { message, orDefault } from "./field.ts";
import { groupMethods } from "./group.ts";
import { actorOf } from "./operator.ts";
import { paged } from "./page.ts";
import { printSlurm } from "./slurm.ts";

export function directoryService(ctx: Context, fleet: Fleet): ServiceImpl<typeof DirectoryService> {
  const org = (name: string): Promise<string> => orgId(ctx, orDefault(name));
  const tell = (portrait: Portrait): DirectoryUser => printPortrait(portrait, fleet, ctx.now());
  return {
    async listUsers(request, call) {
      const id = await org(request.org);
      const { items, nextPageToken } = await paged(request, async (page) => {
        return (await listUsers(ctx.store, actorOf(call), id, everything, page, { groups: false })).users;
      });
      const locked = await lockedAmong(
        ctx,
        id,
        items.map(({ user }) => user.id),
      );
      return { users: items.map(({ user }) => printUser(user, locked.has(user.id))), nextPageToken };
    },
    async getUser(request) {
      return { user: tell(await portray(ctx, await org(request.org), request.user)) };
    },
    async createUser({ org: name, uid, ...stated }, call) {
      const id = await org(name);
      const { id: user } = await createUser(ctx, actorOf(call), id, localInput({ ...stated, uidNumber: uid }));
      return { user: tell(await portray(ctx, id, user)) };
    },
    async updateUser({ org: name, user, active, displayName, email, home, shell, urgent }, call) {
      const id = await org(name);
      const edited = await editAccount(ctx, { ...actorOf(call), urgent }, id, user, {
        active,
        displayName,
        email,
        home,
        shell,
      });
      return { user: tell(await portray(ctx, id, edited.id)) };
    },
    async renameUser(request, call) {
      const id = await org(request.org);
      const renamed = await renameAccount(ctx, actorOf(call), id, request.user, request.posixName);
      return { user: tell(await portray(ctx, id, renamed.id)) };
    },
    async removeUser(request, call) {
      const id = await org(request.org);
      await removeUser(ctx, { ...actorOf(call), urgent: request.urgent }, id, await userId(ctx, id, request.user));
      return {};
    },
    ...groupMethods(ctx),
    async addSshKey(request, call) {
      const expiresAt = parseTime(request.expiresAt);
      const key = await addKey(ctx, actorOf(call), await org(request.org), request.user, request.publicKey, expiresAt);
      return { sshKey: printKey(key) };
    },
    async removeSshKey(request, call) {
      await removeKey(ctx, actorOf(call), await org(request.org), request.user, request.fingerprint);
      return {};
    },
    async lockUser(request, call) {
      return {
        lock: printLock(await lockUser(ctx, actorOf(call), await org(request.org), request.user, request.reason)),
      };
    },
    async unlockUser(request, call) {
      return { locks: (await unlockUser(ctx, actorOf(call), await org(request.org), request.user)).map(printLock) };
    },
    async listLocks(request) {
      const id = await org(request.org);
      const { items, nextPageToken } = await paged(request, (page) => listLocks(ctx, id, page));
      return { locks: items.map(printLock), nextPageToken };
    },
  };
}

function printUser(user: Portrait["user"], locked: boolean): DirectoryUser {
  return message(DirectoryUserSchema, {
    id: user.id,
    userName: user.userName,
    active: user.active,
    locked,
    posixName: user.name,
    uid: user.uid,
    displayName: user.fullName,
    createdAt: printTime(user.createdAt),
    home: user.home ?? "",
    shell: user.shell ?? "",
    origin: user.origin,
  });
}

function printPortrait(
  { user, removed, locked, groups, keys, clusters, held, slurm }: Portrait,
  fleet: Fleet,
  now: number,
): DirectoryUser {
  return {
    ...printUser(user, locked),
    removed,
    ...(removed && { createdAt: undefined }),
    groups: groups.map(({ group }) => group.displayName).sort(),
    sshKeys: keys.map(printKey),
    clusters: [...clusters],
    held: [...held],
    slurm: slurm.map((standing) => printSlurm(standing, fleet.list(standing.cluster.id), now)),
  };
}

function printLock({ userId, userName, origin, externalId, reason, createdAt }: Lock): UserLock {
  return message(UserLockSchema, {
    userId,
    userName,
    origin,
    externalId: externalId ?? "",
    reason,
    createdAt: printTime(createdAt),
  });
}

function printKey(key: Portrait["keys"][number]): UserSshKey {
  const { type, comment, createdAt, expiresAt } = key;
  return message(UserSshKeySchema, {
    fingerprint: fingerprint(key),
    type,
    comment,
    createdAt: printTime(createdAt),
    expiresAt: printTime(expiresAt),
  });
}
