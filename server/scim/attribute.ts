/**
 * What a SCIM schema says of one attribute (RFC 7643, section 2.2). These tables drive everything: what is read, patched,
 * filtered, projected and shown at /Schemas. A name that no table has does not exist, whatever JavaScript thinks of it.
 */

export interface Attribute {
  readonly name: string;
  readonly type: "string" | "boolean" | "integer" | "dateTime" | "reference" | "complex";
  readonly multiValued: boolean;
  readonly required: boolean;
  readonly caseExact: boolean;
  readonly mutability: "readOnly" | "readWrite" | "immutable" | "writeOnly";
  readonly returned: "always" | "never" | "default" | "request";
  readonly uniqueness: "none" | "server";
  readonly subAttributes?: readonly Attribute[];
}

type Traits = Partial<Omit<Attribute, "name" | "subAttributes">>;

export function attribute(name: string, traits: Traits = {}): Attribute {
  return {
    name,
    type: "string",
    multiValued: false,
    required: false,
    caseExact: false,
    mutability: "readWrite",
    returned: "default",
    uniqueness: "none",
    ...traits,
  };
}

export function complex(name: string, subAttributes: readonly Attribute[], traits: Traits = {}): Attribute {
  return { ...attribute(name, { type: "complex", ...traits }), subAttributes };
}

/** A multi-valued attribute with the usual sub-attributes (RFC 7643, section 2.4). */
export function plural(name: string, value: Traits = {}): Attribute {
  const usual = [attribute("value", value), attribute("display"), attribute("type")];
  return complex(name, [...usual, attribute("primary", { type: "boolean" })], { multiValued: true });
}

export function texts(...names: readonly string[]): Attribute[] {
  return names.map((name) => attribute(name, name === "$ref" ? { type: "reference", caseExact: true } : {}));
}

/** An attribute by its name, whatever its case. */
export function named(attributes: readonly Attribute[] | undefined, name: string): Attribute | undefined {
  const wanted = name.toLowerCase();
  return attributes?.find((candidate) => candidate.name.toLowerCase() === wanted);
}
