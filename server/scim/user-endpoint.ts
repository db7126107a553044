/** `/Users`: each request is one command of the directory. */

import { listGroups } from "../directory/groups.ts";
import { createUser, getUser, listUsers, removeUser, type UserInput, updateUser } from "../directory/users.ts";
import type { User } from "../store/users.ts";
import { type Answer, type Call, type Endpoint, selectionOf } from "./endpoint.ts";
import type { Doc } from "./json.ts";
import { locationOf, versionOf } from "./meta.ts";
import { parseOperations } from "./operation.ts";
import { applyPatch } from "./patch.ts";
import { userQuery } from "./query.ts";
import { userType } from "./schema.ts";
import { type Selection, select, wants } from "./selection.ts";
import { fromInput, renderUser, toInput } from "./user-resource.ts";
import { readResource } from "./value.ts";

export const userEndpoint: Endpoint = {
  async find(call, rows) {
    const { reader, org, query } = call;
    const selection = selectionOf(userType, call);
    const { total, users } = await listUsers(reader, org, userQuery(query.filter), rows);
    const resources: Doc[] = [];
    for (const user of users) resources.push(await show(call, user, selection));
    return { total, resources };
  },

  async get(call, id) {
    const selection = selectionOf(userType, call);
    return answer(200, call, await getUser(call.ctx, call.org, id), selection);
  },

  async create(call, body) {
    const selection = selectionOf(userType, call);
    const input = toInput(readResource(userType, body), { active: true });
    const user = await createUser(call.ctx, call.actor, call.org, input);
    return { ...(await answer(201, call, user, selection)), location: locationOf(userType, user.id, call.base) };
  },

  // What a PUT does not state is unassigned, but for `active`: leaving it out must not bring a leaver back.
  async replace(call, id, body) {
    const selection = selectionOf(userType, call);
    const doc = readResource(userType, body);
    const user = await updateUser(call.ctx, call.actor, call.org, id, (current) => toInput(doc, current), call.when);
    return answer(200, call, user, selection);
  },

  async patch(call, id, body) {
    const selection = selectionOf(userType, call);
    const operations = parseOperations(body);
    const patched = (current: UserInput) => toInput(applyPatch(userType, fromInput(current), operations, id), current);
    return answer(200, call, await updateUser(call.ctx, call.actor, call.org, id, patched, call.when), selection);
  },

  async remove({ ctx, actor, org, when }, id) {
    await removeUser(ctx, actor, org, id, when);
    return { status: 204 };
  },
};

/** Linux lets a process be in 65,536 groups; nobody is shown in more than this. */
const mostGroups = 10_000;

async function answer(status: number, call: Call, user: User, selection: Selection): Promise<Answer> {
  return { status, version: versionOf(user), body: await show(call, user, selection) };
}

async function show({ reader, org, base }: Call, user: User, selection: Selection): Promise<Doc> {
  const page = { offset: 0, limit: wants(selection, "groups") ? mostGroups : 0 };
  const { groups } = await listGroups(reader, org, { member: user.id }, page, { members: false });
  return select(
    selection,
    renderUser(
      user,
      groups.map(({ group }) => group),
      base,
    ),
  );
}
