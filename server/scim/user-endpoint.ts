/** `/Users`: each request is one command of the directory. */

import {
  createUser,
  getUser,
  listUsers,
  type Member,
  removeUser,
  updateUser,
  type Wanted,
} from "../directory/users.ts";
import { type Answer, type Call, type Endpoint, selectionOf } from "./endpoint.ts";
import type { Doc } from "./json.ts";
import { locationOf, versionOf } from "./meta.ts";
import { parseOperations } from "./operation.ts";
import { applyPatch } from "./patch.ts";
import { search } from "./query.ts";
import { userType } from "./schema.ts";
import { type Selection, select, wants } from "./selection.ts";
import { fromInput, renderUser, toInput } from "./user-resource.ts";
import { readResource } from "./value.ts";

export const userEndpoint: Endpoint = {
  async find(call, rows) {
    const { reader, actor, org, query, base } = call;
    const selection = selectionOf(userType, call);
    const want = wanted(selection);
    const { total, users } = await listUsers(reader, actor, org, search(userType, query, base), rows, want);
    return { total, resources: users.map((member) => show(member, selection, base)) };
  },

  async get(call, id) {
    const { ctx, actor, org } = call;
    const selection = selectionOf(userType, call);
    return answer(call, selection, await getUser(ctx, actor, org, id, wanted(selection)));
  },

  async create(call, body) {
    const selection = selectionOf(userType, call);
    const input = toInput(readResource(userType, body), { active: true });
    const user = await createUser(call.ctx, call.actor, call.org, input);
    const location = locationOf(userType, user.id, call.base);
    return { status: 201, location, version: versionOf(user), body: show({ user, groups: [] }, selection, call.base) };
  },

  // What a PUT does not state is unassigned, but for `active`: leaving it out must not bring a leaver back.
  async replace(call, id, body) {
    const selection = selectionOf(userType, call);
    const doc = readResource(userType, body);
    return update(call, selection, id, (current) => toInput(doc, current));
  },

  async patch(call, id, body) {
    const selection = selectionOf(userType, call);
    const operations = parseOperations(body);
    return update(call, selection, id, (current) => {
      return toInput(applyPatch(userType, fromInput(current), operations, id), current);
    });
  },

  async remove({ ctx, actor, org, when }, id) {
    await removeUser(ctx, actor, org, id, when);
    return { status: 204 };
  },
};

async function update(
  call: Call,
  selection: Selection,
  id: string,
  change: Parameters<typeof updateUser>[4],
): Promise<Answer> {
  const { ctx, actor, org, when } = call;
  return answer(call, selection, await updateUser(ctx, actor, org, id, change, when, wanted(selection)));
}

function answer({ base }: Call, selection: Selection, member: Member): Answer {
  return { status: 200, version: versionOf(member.user), body: show(member, selection, base) };
}

function wanted(selection: Selection): Wanted {
  return { groups: wants(selection, "groups") };
}

function show({ user, groups }: Member, selection: Selection, base: string): Doc {
  return select(selection, renderUser(user, groups, base));
}
