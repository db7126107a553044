/** A person as an identity provider posts them, different for each number. */
export function person(n: number) {
  return {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:User"],
    userName: `user${n}@example.com`,
    name: { givenName: `Given${n % 977}`, familyName: `Family${n % 1009}` },
    emails: [{ primary: true, value: `user${n}@example.com`, type: "work" }],
    displayName: `Given${n % 977} Family${n % 1009}`,
    title: n % 2 === 0 ? `Researcher ${n % 31}` : undefined,
    externalId: `00u${n}`,
    active: true,
  };
}
