/**
 * Sends one SCIM request as an identity provider does, from wherever it is run: `node send.ts METHOD URL`, the body on stdin,
 * the token in SCIM_TOKEN, the authority in NODE_EXTRA_CA_CERTS. Prints the answer: `{"status": ..., "body": ...}`.
 */

import { text } from "node:stream/consumers";

const [method = "", url = ""] = process.argv.slice(2);
const body = await text(process.stdin);
const answer = await fetch(url, {
  method,
  headers: {
    accept: "application/scim+json",
    authorization: `Bearer ${process.env["SCIM_TOKEN"]}`,
    ...(body === "" ? {} : { "content-type": "application/scim+json" }),
  },
  ...(body === "" ? {} : { body }),
});
const said = await answer.text();
process.stdout.write(JSON.stringify({ status: answer.status, body: said === "" ? {} : JSON.parse(said) }));
