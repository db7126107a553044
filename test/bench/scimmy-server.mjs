/**
 * What SCIM on this machine is measured against: scimmy-routers on express, people and groups in memory, nothing durable.
 * User names are kept unique by an index of ours, which is kinder to it than its own examples. Prints its port.
 */

import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const { User, Group } = SCIMMY.Resources;
const names = new Set();
let made = 0;

function declare(Resource, nameOf) {
  const held = new Map();
  SCIMMY.Resources.declare(Resource)
    .ingress((resource, data) => {
      const plain = JSON.parse(JSON.stringify(data));
      const name = nameOf(plain);
      if (resource.id === undefined && name !== undefined) {
        if (names.has(name)) throw new SCIMMY.Types.Error(409, "uniqueness", "taken");
        names.add(name);
      }
      const id = resource.id ?? `id${++made}`;
      const stored = { ...plain, id, meta: { created: new Date(), lastModified: new Date() } };
      held.set(id, stored);
      return stored;
    })
    .egress((resource) => {
      if (resource.id === undefined) return [...held.values()];
      const found = held.get(resource.id);
      if (!found) throw new SCIMMY.Types.Error(404, null, "not found");
      return found;
    })
    .degress((resource) => void held.delete(resource.id));
}

declare(User, ({ userName }) => String(userName).toLowerCase());
declare(Group, () => undefined);
const app = express();
app.use("/scim", new SCIMMYRouters({ type: "bearer", handler: () => "tenant" }));
// Ours keeps idle connections for as long.
const server = app.listen(0, "127.0.0.1", () => process.stdout.write(`${server.address().port}\n`));
server.keepAliveTimeout = 72_000;
