/**
 * The basis of the SCIM figures: SCIMMY's routers on express over maps in memory, plain HTTP, nothing durable. A parent says
 * on the channel how large a group it wants to find; the answer is the port.
 */

import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const { User, Group } = SCIMMY.Resources;
let made = 0;

function keep(resource, checked) {
  const held = new Map();
  const names = new Set();
  resource
    .ingress(async ({ id = `id${++made}` }, data) => {
      const stated = structuredClone(JSON.parse(JSON.stringify(data)));
      const name = String(stated[checked]).toLowerCase();
      if (!held.has(id) && names.has(name)) throw new SCIMMY.Types.Error(409, "uniqueness", "taken");
      names.add(name);
      const meta = { created: new Date(), lastModified: new Date() };
      held.set(id, { ...stated, id, meta });
      return held.get(id);
    })
    .egress(async ({ id }) => {
      if (id === undefined) return [...held.values()];
      if (!held.has(id)) throw new SCIMMY.Types.Error(404, null, "none");
      return held.get(id);
    })
    .degress(async ({ id }) => void held.delete(id));
  SCIMMY.Resources.declare(resource);
  return held;
}

keep(User, "userName");
const groups = keep(Group, "displayName");

const app = express();
app.use("/scim", new SCIMMYRouters({ type: "bearer", handler: () => "bench" }));

process.once("message", ({ members }) => {
  const meta = { created: new Date(), lastModified: new Date() };
  const everyone = Array.from({ length: members }, (_, i) => ({ value: `member${i}` }));
  groups.set("large", { id: "large", displayName: "large", members: everyone, meta });
  const server = app.listen(0, "127.0.0.1", () => process.send({ port: server.address().port }));
});
