/** The part of DirectoryService that is about groups. */

import type { ServiceImpl } from "@connectrpc/connect";
import {
  type DirectoryGroup,
  DirectoryGroupSchema,
  type DirectoryService,
} from "../../proto/gen/rollcall/v1/directory_pb.ts";
import { printTime } from "../../proto/wire.ts";
import type { Actor } from "../directory/actor.ts";
import { orgId } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import {
  createGroup,
  type GroupEdit,
  getGroup,
  groupId,
  listGroups,
  removeGroup,
  updateGroup,
} from "../directory/groups.ts";
import { everything, userId } from "../directory/users.ts";
import type { Group, GroupMember } from "../store/groups.ts";
import { message, orDefault } from "./field.ts";
import { actorOf } from "./operator.ts";
import { paged } from "./page.ts";

const admin: Actor = { kind: "admin" };

type Methods =
  | "createGroup"
  | "getGroup"
  | "listGroups"
  | "updateGroup"
  | "removeGroup"
  | "addGroupMembers"
  | "removeGroupMembers";

export function groupMethods(ctx: Context): Pick<ServiceImpl<typeof DirectoryService>, Methods> {
  const org = (name: string): Promise<string> => orgId(ctx, orDefault(name));
  /** Ids of the members that a request names. */
  const members = async (id: string, { users, groups }: { users: string[]; groups: string[] }): Promise<string[]> => {
    const ids: string[] = [];
    for (const user of users) ids.push(await userId(ctx, id, user));
    for (const group of groups) ids.push(await groupId(ctx, id, group));
    return ids;
  };
  const edited = async (
    actor: Actor,
    id: string,
    group: string,
    edit: GroupEdit,
  ): Promise<{ group: DirectoryGroup }> => {
    return { group: printGroup(await updateGroup(ctx, actor, id, await groupId(ctx, id, group), [edit])) };
  };
  const whole = async (id: string, group: string): Promise<{ group: DirectoryGroup }> => {
    const found = await getGroup(ctx, admin, id, group, { members: true });
    return { group: printGroup(found.group, found.members) };
  };
  return {
    async createGroup({ org: name, displayName, gid, ...named }, call) {
      const id = await org(name);
      const input = { displayName, externalId: undefined, members: await members(id, named), gidNumber: gid };
      return whole(id, (await createGroup(ctx, actorOf(call), id, input)).id);
    },
    async getGroup(request) {
      const id = await org(request.org);
      return whole(id, await groupId(ctx, id, request.group));
    },
    async listGroups(request) {
      const id = await org(request.org);
      const { items, nextPageToken } = await paged(request, async (page) => {
        return (await listGroups(ctx.store, admin, id, everything, page, { members: false })).groups;
      });
      return { groups: items.map(({ group }) => printGroup(group)), nextPageToken };
    },
    async updateGroup({ org: name, group, displayName }, call) {
      return edited(actorOf(call), await org(name), group, { kind: "set-display-name", displayName });
    },
    async removeGroup(request, call) {
      const id = await org(request.org);
      await removeGroup(ctx, { ...actorOf(call), urgent: request.urgent }, id, await groupId(ctx, id, request.group));
      return {};
    },
    async addGroupMembers({ org: name, group, ...named }, call) {
      const id = await org(name);
      return edited(actorOf(call), id, group, { kind: "add-members", members: await members(id, named) });
    },
    async removeGroupMembers({ org: name, group, urgent, ...named }, call) {
      const id = await org(name);
      return edited({ ...actorOf(call), urgent }, id, group, {
        kind: "remove-members",
        members: await members(id, named),
      });
    },
  };
}

function printGroup(group: Group, members: readonly GroupMember[] = []): DirectoryGroup {
  return message(DirectoryGroupSchema, {
    id: group.id,
    displayName: group.displayName,
    posixName: group.name,
    gid: group.gid,
    origin: group.origin,
    members: members.map(({ id, type, display }) => ({ id, type, name: display })),
    createdAt: printTime(group.createdAt),
  });
}
