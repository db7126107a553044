/** `rollcall scim-token` and `rollcall join-token`: secrets that let others in, shown once. */

import { Command, Option } from "commander";
import { type Role, roles } from "../identity/scope.ts";
import {
  CreateJoinTokenResponseSchema,
  CreateScimTokenResponseSchema,
  ListScimTokensResponseSchema,
  RevokeScimTokenResponseSchema,
} from "../proto/gen/rollcall/v1/token_pb.ts";
import { printMillis, printRole } from "../proto/wire.ts";
import { clusterOption, type InCluster, type InOrg, orgOption, type Run, wholeList } from "./command.ts";
import { card, table } from "./table.ts";
import { parseDuration, showTime } from "./time.ts";

export function scimTokenCommand(run: Run): Command {
  const command = new Command("scim-token").description("tokens with which identity providers write a directory");
  command
    .command("create")
    .description("make a token; it is shown only now")
    .addOption(orgOption())
    .requiredOption(
      "--name <connection>",
      "the connection's name, such as okta; a second token of a name is a rotation",
    )
    .action(
      run<InOrg & { name: string }>(async ({ tokens, show }, _, { org, name }) => {
        const made = await tokens.createScimToken({ org, name });
        show(CreateScimTokenResponseSchema, made, ({ token, baseUrl, scimToken }) =>
          card({ id: scimToken?.id ?? "-", base_url: baseUrl, token }),
        );
      }),
    );
  command
    .command("list")
    .description("list tokens, without the secrets")
    .addOption(orgOption())
    .action(
      run<InOrg>(async ({ tokens, show }, _, { org }) => {
        const found = await wholeList("scimTokens", (page) => tokens.listScimTokens({ org, ...page }));
        show(ListScimTokensResponseSchema, found, ({ scimTokens }) =>
          table(
            ["id", "name", "created", "last used", "revoked"],
            scimTokens.map(({ id, name, createdAt, lastUsedAt, revokedAt }) => [
              id,
              name,
              showTime(createdAt),
              showTime(lastUsedAt),
              showTime(revokedAt),
            ]),
          ),
        );
      }),
    );
  command
    .command("revoke")
    .description("revoke a token at once")
    .argument("<id>", "its id")
    .action(
      run(async ({ tokens, show }, [id = ""]) => {
        const done = await tokens.revokeScimToken({ id });
        show(RevokeScimTokenResponseSchema, done, () => `SCIM token ${id} is revoked.\n`);
      }),
    );
  return command;
}

export function joinTokenCommand(run: Run): Command {
  const command = new Command("join-token").description("tokens with which nodes enrol, each once");
  command
    .command("create")
    .description("make a token; it is shown only now")
    .addOption(clusterOption())
    .addOption(new Option("--role <role>", "what the node is for").choices(roles).makeOptionMandatory())
    .option("--ttl <duration>", "how long it can be used, such as 10m, at most 24h", parseDuration)
    .action(
      run<InCluster & { role: Role; ttl?: number }>(async ({ tokens, show }, _, { cluster, role, ttl }) => {
        const lasting = ttl === undefined ? {} : { ttl: printMillis(ttl) };
        const made = await tokens.createJoinToken({ cluster, role: printRole(role), ...lasting });
        show(CreateJoinTokenResponseSchema, made, ({ token, expiresAt }) =>
          card({ token, expires: showTime(expiresAt) }),
        );
      }),
    );
  return command;
}
