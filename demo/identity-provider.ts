/** What identity providers send, as Okta and Entra word it (shared/SCIM.md, section 1), over HTTPS from a machine of their own. */

import { fileURLToPath } from "node:url";
import { expect } from "./expect.ts";
import type { Place } from "./stage.ts";
import type { Terminal } from "./terminal.ts";

/** A person or a group, as far as the identity provider cares. */
export interface Provisioned {
  readonly id: string;
  readonly path: string;
}

export interface Connection {
  readonly place: Place;
  /** The SCIM endpoint's URL. */
  readonly base: string;
  readonly token: string;
  readonly caPem: string;
}

const program = fileURLToPath(new URL("send.ts", import.meta.url));
const patchOp = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

export class IdentityProvider {
  readonly #place: Place;
  readonly #base: string;
  readonly #terminal: Terminal;

  private constructor(place: Place, base: string, terminal: Terminal) {
    this.#place = place;
    this.#base = base;
    this.#terminal = terminal;
  }

  static async connect({ place, base, token, caPem }: Connection, terminal: Terminal): Promise<IdentityProvider> {
    const ca = place.path("/etc/rollcall-ca.pem");
    await place.write(ca, caPem, 0o644);
    place.export({ NODE_EXTRA_CA_CERTS: ca, SCIM_TOKEN: token });
    return new IdentityProvider(place, base, terminal);
  }

  /** Okta looks whether she is there, then makes her. */
  async createAda(): Promise<Provisioned> {
    const userName = "ada@example.com";
    const filter = encodeURIComponent(`userName eq "${userName}"`);
    await this.#find(`/Users?filter=${filter}&startIndex=1&count=100`);
    return this.#make("/Users", {
      schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"],
      userName,
      name: { givenName: "Ada", familyName: "Lovelace" },
      emails: [{ primary: true, value: userName, type: "work" }],
      displayName: "Ada Lovelace",
      locale: "en-US",
      externalId: "00u1ada5lovelace5d7",
      groups: [],
      password: "1mz050nq",
      active: true,
    });
  }

  /** Okta's group push, for a group without members yet. */
  async createGroup(displayName: string): Promise<Provisioned> {
    const filter = encodeURIComponent(`displayName eq "${displayName}"`);
    await this.#find(`/Groups?filter=${filter}&startIndex=1&count=100`);
    return this.#make("/Groups", {
      schemas: ["urn:ietf:params:scim:schemas:core:2.0:Group"],
      displayName,
      members: [],
    });
  }

  async addMember(group: Provisioned, member: Provisioned): Promise<void> {
    const value = [{ value: member.id, display: "ada@example.com" }];
    await this.#send("PATCH", group.path, 204, {
      schemas: [patchOp],
      Operations: [{ op: "add", path: "members", value }],
    });
  }

  /** In Entra's words: capitals, and a boolean in quotes. */
  async deactivate(user: Provisioned): Promise<void> {
    await this.#send("PATCH", user.path, 200, {
      schemas: [patchOp],
      Operations: [{ op: "Replace", value: { active: "False" } }],
    });
  }

  async #find(path: string): Promise<void> {
    const { totalResults } = await this.#send("GET", path, 200);
    expect(totalResults === 0, "nobody of that name yet", JSON.stringify(totalResults));
  }

  async #make(path: string, body: object): Promise<Provisioned> {
    const { id } = await this.#send("POST", path, 201, body);
    expect(typeof id === "string", "an id", JSON.stringify(id));
    return { id, path: `${path}/${id}` };
  }

  async #send(method: string, path: string, wanted: number, body?: object): Promise<Record<string, unknown>> {
    const sent = body === undefined ? "" : JSON.stringify(body);
    const { code, stdout, stderr } = await this.#place.run(`node ${program} ${method} '${this.#base}${path}'`, sent);
    expect(code === 0, `${method} ${path} to be answered`, stderr);
    const answer = JSON.parse(stdout) as { status: number; body: Record<string, unknown> };
    this.#terminal.show(`${method.padEnd(5)} ${decodeURIComponent(path)}  ->  ${answer.status}`);
    if (method === "PATCH") this.#terminal.show(`      ${sent.replace(/^.*?"Operations"/, '{"Operations"')}`);
    expect(answer.status === wanted, `${method} ${path} to be answered ${wanted}`, stdout);
    return answer.body;
  }
}
