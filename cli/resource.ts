/** Resources on one line each, for people. */

import type { Resource } from "../proto/gen/rollcall/v1/resource_pb.ts";

export function showResource(resource: Resource | undefined): string {
  switch (resource?.kind.case) {
    case "user": {
      const { name, uid, gid, home, shell } = resource.kind.value;
      return `user ${name} uid ${uid} gid ${gid} home ${home} shell ${shell}`;
    }
    case "group": {
      const { name, gid } = resource.kind.value;
      return `group ${name} gid ${gid}`;
    }
    case "member": {
      const { uid, gid } = resource.kind.value;
      return `member uid ${uid} of gid ${gid}`;
    }
    case "key": {
      const { uid, type, comment } = resource.kind.value;
      return `key of uid ${uid} ${type} ${comment}`;
    }
    case "sudo": {
      const { gid, commands, password } = resource.kind.value;
      return `sudo of gid ${gid}${password ? " with a password" : ""}: ${commands.join(", ")}`;
    }
    case "account": {
      const { name, parent } = resource.kind.value;
      return `Slurm account ${name} below ${parent || "root"}`;
    }
    case "association": {
      const { uid, account } = resource.kind.value;
      return `association of uid ${uid} with ${account}`;
    }
    default:
      return "";
  }
}
