/** HoldService: removals that the guard keeps back, and an operator's word on them. */

import type { ServiceImpl } from "@connectrpc/connect";
import {
  type Hold,
  Hold_State,
  type HoldItem,
  HoldItemSchema,
  HoldSchema,
  type HoldService,
} from "../../proto/gen/rollcall/v1/hold_pb.ts";
import { printResource, printTime } from "../../proto/wire.ts";
import type { Context } from "../directory/context.ts";
import {
  approveHold,
  getHold,
  type HoldView,
  type HoldItem as Item,
  listHeld,
  listHolds,
  rejectHold,
} from "../directory/holds.ts";
import { message, orDefault } from "./field.ts";
import { actorOf } from "./operator.ts";
import { paged } from "./page.ts";

const states = {
  pending: Hold_State.PENDING,
  rejected: Hold_State.REJECTED,
  done: Hold_State.DONE,
} as const;

export function holdService(ctx: Context): ServiceImpl<typeof HoldService> {
  return {
    async listHolds(request) {
      const { cluster, done } = request;
      const { items, nextPageToken } = await paged(request, (page) =>
        listHolds(ctx, orDefault(cluster), { done }, page),
      );
      return { holds: items.map(printHold), nextPageToken };
    },
    async getHold(request) {
      const view = await getHold(ctx, request.hold);
      const { items, nextPageToken } = await paged(request, (page) => listHeld(ctx, request.hold, page));
      return { hold: printHold(view), items: items.map(printItem), nextPageToken };
    },
    async approveHold({ hold, only, seen }, call) {
      return {
        hold: printHold(await approveHold(ctx, actorOf(call), hold, { only, seen: seen === 0 ? undefined : seen })),
      };
    },
    async rejectHold({ hold }, call) {
      return { hold: printHold(await rejectHold(ctx, actorOf(call), hold)) };
    },
  };
}

function printHold({ hold, cluster, subjects }: HoldView): Hold {
  return message(HoldSchema, {
    id: hold.id,
    cluster,
    state: states[hold.state],
    reason: hold.reason,
    subjects,
    createdAt: printTime(hold.createdAt),
    decidedAt: printTime(hold.decidedAt),
  });
}

function printItem({ subject, held }: Item): HoldItem {
  return message(HoldItemSchema, {
    subject,
    cause: held[0]?.cause ?? "",
    at: printTime(held[0]?.at),
    resources: held.map(({ resource }) => printResource(resource)),
  });
}
