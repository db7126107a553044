/** Fields of messages that may be left out. */

import { create, type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";

/** The cluster or org that is meant if none is named. */
export function orDefault(name: string): string {
  return name === "" ? "default" : name;
}

/** Makes a message; a field that is undefined is absent, which `create` does and its types do not say. */
export function message<D extends DescMessage>(schema: D, fields: Loose<MessageInitShape<D>>): MessageShape<D> {
  return create(schema, fields as MessageInitShape<D>);
}

type Loose<T> = { [K in keyof T]: T[K] | undefined };
