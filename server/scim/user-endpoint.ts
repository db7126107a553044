/** `/Users`: each request is one command of the directory. */

import { listGroups } from "../directory/groups.ts";
import { createUser, getUser, listUsers, removeUser, updateUser } from "../directory/users.ts";
import type { User } from "../store/users.ts";
import { type Call, type Endpoint, selectionOf } from "./endpoint.ts";
import type { Doc } from "./json.ts";
import { locationOf } from "./meta.ts";
import { parseOperations } from "./operation.ts";
import { listResponse, parsePage } from "./page.ts";
import { applyPatch } from "./patch.ts";
import { userQuery } from "./query.ts";
import { userType } from "./schema.ts";
import { type Selection, select, wants } from "./selection.ts";
import { fromInput, renderUser, toInput } from "./user-resource.ts";
import { readResource } from "./value.ts";

export const userEndpoint: Endpoint = {
  async list(call) {
    const { ctx, org, query } = call;
    const selection = selectionOf(userType, call);
    const { startIndex, rows } = parsePage(query.startIndex, query.count);
    const { total, users } = await listUsers(ctx, org, userQuery(query.filter), rows);
    const shown: Doc[] = [];
    for (const user of users) shown.push(await show(call, user, selection));
    return { status: 200, body: listResponse(shown, total, startIndex) };
  },

  async get(call, id) {
    const selection = selectionOf(userType, call);
    return { status: 200, body: await show(call, await getUser(call.ctx, call.org, id), selection) };
  },

  async create(call, body) {
    const selection = selectionOf(userType, call);
    const input = toInput(readResource(userType, body), { active: true });
    const user = await createUser(call.ctx, call.actor, call.org, input);
    return { status: 201, location: locationOf(userType, user.id, call.base), body: await show(call, user, selection) };
  },

  // What a PUT does not state is unassigned, but for `active`: leaving it out must not bring a leaver back.
  async replace(call, id, body) {
    const selection = selectionOf(userType, call);
    const doc = readResource(userType, body);
    const user = await updateUser(call.ctx, call.actor, call.org, id, (current) => toInput(doc, current));
    return { status: 200, body: await show(call, user, selection) };
  },

  async patch(call, id, body) {
    const selection = selectionOf(userType, call);
    const operations = parseOperations(body);
    const user = await updateUser(call.ctx, call.actor, call.org, id, (current) =>
      toInput(applyPatch(userType, fromInput(current), operations, id), current),
    );
    return { status: 200, body: await show(call, user, selection) };
  },

  async remove({ ctx, actor, org }, id) {
    await removeUser(ctx, actor, org, id);
    return { status: 204 };
  },
};

/** Linux lets a process be in 65,536 groups; nobody is shown in more than this. */
const mostGroups = 10_000;

async function show({ ctx, org, base }: Call, user: User, selection: Selection): Promise<Doc> {
  const page = { offset: 0, limit: wants(selection, "groups") ? mostGroups : 0 };
  const { groups } = await listGroups(ctx, org, { member: user.id }, page, { members: false });
  return select(
    selection,
    renderUser(
      user,
      groups.map(({ group }) => group),
      base,
    ),
  );
}
