/** `/Groups`: each request is one command of the directory. */

import { createGroup, type GroupEdit, getGroup, listGroups, removeGroup, updateGroup } from "../directory/groups.ts";
import { type Answer, type Call, type Endpoint, selectionOf } from "./endpoint.ts";
import { groupEdits } from "./group-patch.ts";
import { readGroup, renderGroup, sameNumber } from "./group-resource.ts";
import { locationOf, versionOf } from "./meta.ts";
import { parseOperations } from "./operation.ts";
import { search } from "./query.ts";
import { groupType } from "./schema.ts";
import { type Selection, select, wants } from "./selection.ts";

export const groupEndpoint: Endpoint = {
  async find(call, rows) {
    const { reader, actor, org, base, query } = call;
    const selection = selectionOf(groupType, call);
    const want = { members: wants(selection, "members") };
    const { total, groups } = await listGroups(reader, actor, org, search(groupType, query, base), rows, want);
    const resources = groups.map(({ group, members }) =>
      select(selection, renderGroup(group, want.members ? members : undefined, base)),
    );
    return { total, resources };
  },

  async get(call, id) {
    return answer(200, call, id, selectionOf(groupType, call));
  },

  async create(call, body) {
    const selection = selectionOf(groupType, call);
    const stated = readGroup(body);
    const { id } = await createGroup(call.ctx, call.actor, call.org, { ...stated, members: stated.members ?? [] });
    return { ...(await answer(201, call, id, selection)), location: locationOf(groupType, id, call.base) };
  },

  async replace(call, id, body) {
    const selection = selectionOf(groupType, call);
    const { displayName, externalId, members, gidNumber } = readGroup(body);
    const edits: GroupEdit[] = [
      { kind: "set-display-name", displayName },
      { kind: "set-external-id", externalId },
    ];
    if (gidNumber !== undefined) edits.push(sameNumber(gidNumber));
    // Absent is not empty: only a PUT that states members changes them, or one forgotten line would empty a group.
    if (members) edits.push({ kind: "set-members", members });
    await updateGroup(call.ctx, call.actor, call.org, id, edits, call.when);
    return answer(200, call, id, selection);
  },

  // 204, as Entra prefers: an answer would list every member of the group for each one that is added.
  async patch(call, id, body) {
    const selection = selectionOf(groupType, call);
    const edits = groupEdits(parseOperations(body), id);
    const group = await updateGroup(call.ctx, call.actor, call.org, id, edits, call.when);
    return selection.kind === "all" ? { status: 204, version: versionOf(group) } : answer(200, call, id, selection);
  },

  async remove({ ctx, actor, org, when }, id) {
    await removeGroup(ctx, actor, org, id, when);
    return { status: 204 };
  },
};

async function answer(
  status: number,
  { ctx, actor, org, base }: Call,
  id: string,
  selection: Selection,
): Promise<Answer> {
  const want = { members: wants(selection, "members") };
  const { group, members } = await getGroup(ctx, actor, org, id, want);
  const body = select(selection, renderGroup(group, want.members ? members : undefined, base));
  return { status, version: versionOf(group), body };
}
