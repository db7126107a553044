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
import { type Call, type Endpoint, selectionOf } from "./endpoint.ts";
import type { Doc } from "./json.ts";
import { locationOf } from "./meta.ts";
import { parseOperations } from "./operation.ts";
import { listResponse, parsePage } from "./page.ts";
import { applyPatch } from "./patch.ts";
import { search } from "./query.ts";
import { userType } from "./schema.ts";
import { type Selection, select, wants } from "./selection.ts";
import { fromInput, renderUser, toInput } from "./user-resource.ts";
import { readResource } from "./value.ts";

export const userEndpoint: Endpoint = {
  async list(call) {
    const { ctx, actor, org, query, base } = call;
    const selection = selectionOf(userType, call);
    const { startIndex, rows } = parsePage(query.startIndex, query.count);
    const { total, users } = await listUsers(ctx, actor, org, search(userType, query, base), rows, wanted(selection));
    const shown = users.map((member) => show(member, selection, base));
    return { status: 200, body: listResponse(shown, total, startIndex) };
  },

  async get(call, id) {
    const selection = selectionOf(userType, call);
    return { status: 200, body: await read(call, id, selection) };
  },

  async create(call, body) {
    const selection = selectionOf(userType, call);
    const input = toInput(readResource(userType, body), { active: true });
    const user = await createUser(call.ctx, call.actor, call.org, input);
    const shown = show({ user, groups: [] }, selection, call.base);
    return { status: 201, location: locationOf(userType, user.id, call.base), body: shown };
  },

  // What a PUT does not state is unassigned, but for `active`: leaving it out must not bring a leaver back.
  async replace(call, id, body) {
    const selection = selectionOf(userType, call);
    const doc = readResource(userType, body);
    await updateUser(call.ctx, call.actor, call.org, id, (current) => toInput(doc, current));
    return { status: 200, body: await read(call, id, selection) };
  },

  async patch(call, id, body) {
    const selection = selectionOf(userType, call);
    const operations = parseOperations(body);
    await updateUser(call.ctx, call.actor, call.org, id, (current) =>
      toInput(applyPatch(userType, fromInput(current), operations, id), current),
    );
    return { status: 200, body: await read(call, id, selection) };
  },

  async remove({ ctx, actor, org }, id) {
    await removeUser(ctx, actor, org, id);
    return { status: 204 };
  },
};

async function read({ ctx, actor, org, base }: Call, id: string, selection: Selection): Promise<Doc> {
  return show(await getUser(ctx, actor, org, id, wanted(selection)), selection, base);
}

function show({ user, groups }: Member, selection: Selection, base: string): Doc {
  return select(selection, renderUser(user, groups, base));
}

function wanted(selection: Selection): Wanted {
  return { groups: wants(selection, "groups") };
}
