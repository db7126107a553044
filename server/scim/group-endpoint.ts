/** `/Groups`: each request is one command of the directory. */

import { createGroup, type GroupEdit, getGroup, listGroups, removeGroup, updateGroup } from "../directory/groups.ts";
import { type Answer, type Call, type Endpoint, selectionOf } from "./endpoint.ts";
import { groupEdits } from "./group-patch.ts";
import { readGroup, renderGroup } from "./group-resource.ts";
import type { Doc } from "./json.ts";
import { locationOf } from "./meta.ts";
import { parseOperations } from "./operation.ts";
import { listResponse, parsePage } from "./page.ts";
import { search } from "./query.ts";
import { groupType } from "./schema.ts";
import { type Selection, select, wants } from "./selection.ts";

export const groupEndpoint: Endpoint = {
  async list(call) {
    const { ctx, actor, org, base, query } = call;
    const selection = selectionOf(groupType, call);
    const { startIndex, rows } = parsePage(query.startIndex, query.count);
    const want = { members: wants(selection, "members") };
    const { total, groups } = await listGroups(ctx, actor, org, search(groupType, query, base), rows, want);
    const shown = groups.map(({ group, members }) =>
      select(selection, renderGroup(group, want.members ? members : undefined, base)),
    );
    return { status: 200, body: listResponse(shown, total, startIndex) };
  },

  async get(call, id) {
    return { status: 200, body: await show(call, id, selectionOf(groupType, call)) };
  },

  async create(call, body) {
    const selection = selectionOf(groupType, call);
    const stated = readGroup(body);
    const { id } = await createGroup(call.ctx, call.actor, call.org, { ...stated, members: stated.members ?? [] });
    return { status: 201, location: locationOf(groupType, id, call.base), body: await show(call, id, selection) };
  },

  async replace(call, id, body) {
    const selection = selectionOf(groupType, call);
    const { displayName, externalId, members } = readGroup(body);
    const edits: GroupEdit[] = [
      { kind: "set-display-name", displayName },
      { kind: "set-external-id", externalId },
    ];
    // Absent is not empty: only a PUT that states members changes them, or one forgotten line would empty a group.
    if (members) edits.push({ kind: "set-members", members });
    await updateGroup(call.ctx, call.actor, call.org, id, edits);
    return { status: 200, body: await show(call, id, selection) };
  },

  // 204, as Entra prefers: an answer would list every member of the group for each one that is added.
  async patch(call, id, body): Promise<Answer> {
    const selection = selectionOf(groupType, call);
    await updateGroup(call.ctx, call.actor, call.org, id, groupEdits(parseOperations(body), id));
    return selection.kind === "all" ? { status: 204 } : { status: 200, body: await show(call, id, selection) };
  },

  async remove({ ctx, actor, org }, id) {
    await removeGroup(ctx, actor, org, id);
    return { status: 204 };
  },
};

async function show({ ctx, actor, org, base }: Call, id: string, selection: Selection): Promise<Doc> {
  const want = { members: wants(selection, "members") };
  const { group, members } = await getGroup(ctx, actor, org, id, want);
  return select(selection, renderGroup(group, want.members ? members : undefined, base));
}
