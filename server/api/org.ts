/** OrgService: orgs, and the rules by which their people become accounts. */

import type { ServiceImpl } from "@connectrpc/connect";
import { type Org, OrgSchema, type OrgService } from "../../proto/gen/rollcall/v1/org_pb.ts";
import { printTime } from "../../proto/wire.ts";
import type { Context } from "../directory/context.ts";
import { createOrg, getOrg, listOrgs, type OrgEdit, setOrg } from "../directory/orgs.ts";
import type { RuledOrg } from "../store/clusters.ts";
import { message, orDefault } from "./field.ts";
import { actorOf } from "./operator.ts";
import { paged } from "./page.ts";

export function orgService(ctx: Context): ServiceImpl<typeof OrgService> {
  return {
    async createOrg({ name }, call) {
      return { org: printOrg(await createOrg(ctx, actorOf(call), name)) };
    },
    async listOrgs(request) {
      const { items, nextPageToken } = await paged(request, (page) => listOrgs(ctx, page));
      return { orgs: items.map(printOrg), nextPageToken };
    },
    async getOrg({ org }) {
      return { org: printOrg(await getOrg(ctx, orDefault(org))) };
    },
    async setOrg({ org, shells, ...stated }, call) {
      const { userNames, groupNames, spaces, userIds, groupIds, suppliedIds, home, shell } = stated;
      const edit: { [K in keyof OrgEdit]: OrgEdit[K] | undefined } = {
        userNames,
        groupNames,
        spaces,
        userIds,
        groupIds,
        suppliedIds,
        home,
        shell,
        shells: shells.length > 0 ? shells : undefined,
      };
      return { org: printOrg(await setOrg(ctx, actorOf(call), orDefault(org), edit as OrgEdit)) };
    },
  };
}

function printOrg({ name, settings, createdAt }: RuledOrg): Org {
  const { shells, ...others } = settings;
  return message(OrgSchema, { name, ...others, shells: [...shells], createdAt: printTime(createdAt) });
}
