/** EstateService: adopting what a site had before Rollcall. */

import type { ServiceImpl } from "@connectrpc/connect";
import { quote, refuse } from "../../identity/refusal.ts";
import { type EstateFile, EstateFile_Kind, type EstateService } from "../../proto/gen/rollcall/v1/estate_pb.ts";
import { orgId } from "../directory/clusters.ts";
import type { Context } from "../directory/context.ts";
import { type FileKind, type EstateFile as Given, importEstate } from "../directory/import.ts";
import { printEffect } from "./effect.ts";
import { orDefault } from "./field.ts";
import { actorOf } from "./operator.ts";

const kinds: ReadonlyMap<EstateFile_Kind, FileKind> = new Map([
  [EstateFile_Kind.PASSWD, "passwd"],
  [EstateFile_Kind.GROUP, "group"],
  [EstateFile_Kind.LDIF, "ldif"],
  [EstateFile_Kind.SACCTMGR_DUMP, "sacctmgr-dump"],
  [EstateFile_Kind.MAP, "map"],
]);

export function estateService(ctx: Context): ServiceImpl<typeof EstateService> {
  return {
    async importEstate({ org, files, dryRun, create, cluster }, call) {
      const options = { dryRun, create, cluster: cluster === "" ? undefined : cluster };
      const actor = { ...actorOf(call), cause: "import" };
      const found = await importEstate(ctx, actor, await orgId(ctx, orDefault(org)), files.map(readFile), options);
      const { plan, slurm } = found;
      return {
        applied: found.applied,
        problems: [...found.problems],
        users: plan.people.map(({ person, name, uid }) => {
          return { userName: person?.userName ?? name, name, uid, created: !person };
        }),
        groups: plan.groups.map(({ group, name, gid }) => {
          return { displayName: group?.displayName ?? name, name, gid, created: !group };
        }),
        closed: plan.closed.map(({ name, numbers }) => `${name} ${numbers.join(" ")}`),
        unchanged: plan.unchanged,
        system: plan.system,
        rules: slurm.rules.map(({ group, grant }) => `${grant.account} of ${group}`),
        keptAccounts: [...slurm.kept],
        unmatchedAccounts: [...slurm.unmatched],
        slurmAdmins: [...slurm.admins],
        effects: found.effects.map(printEffect),
      };
    },
  };
}

function readFile({ kind, name, content }: EstateFile): Given {
  const known = kinds.get(kind) ?? refuse("invalid", `files: ${quote(name)} has no kind`);
  const text = Buffer.from(content).toString("utf8");
  if (!Buffer.from(text).equals(content)) refuse("invalid", `files: ${quote(name)} is not UTF-8`);
  return { kind: known, name, text };
}
