/**
 * gRPC server reflection, v1 and v1alpha: what this server serves, told to `buf curl` and `grpcurl`. The two versions have
 * the same messages, so one answer serves both.
 */

import { type DescFile, type DescService, toBinary } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code, type ConnectRouter } from "@connectrpc/connect";
import { ServerReflection as V1 } from "../../proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as V1Alpha } from "../../proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";

/** What is asked, in either version. */
type Asked =
  | { case: "listServices" | "fileByFilename" | "fileContainingSymbol" | "allExtensionNumbersOfType"; value: string }
  | { case: "fileContainingExtension"; value: unknown }
  | { case: undefined; value?: undefined };

type Answer =
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array<ArrayBuffer>[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

/** The two services themselves, for the list of what is served. */
export const reflectionServices: readonly DescService[] = [V1, V1Alpha];

export function reflectionRoutes(
  router: ConnectRouter,
  services: readonly DescService[],
  options: Parameters<ConnectRouter["service"]>[2],
): void {
  const answer = answers(services);
  async function* serverReflectionInfo<R extends { host: string; messageRequest: Asked }>(requests: AsyncIterable<R>) {
    for await (const originalRequest of requests) {
      const { host: validHost, messageRequest } = originalRequest;
      yield { validHost, originalRequest, messageResponse: answer(messageRequest) };
    }
  }
  router.service(V1, { serverReflectionInfo }, options);
  router.service(V1Alpha, { serverReflectionInfo }, options);
}

function answers(services: readonly DescService[]): (asked: Asked) => Answer {
  const { byName, bySymbol } = index(services);
  const files = (file: DescFile | undefined, what: string): Answer =>
    file ? { case: "fileDescriptorResponse", value: { fileDescriptorProto: encoded(file) } } : notFound(what);
  return (asked) => {
    switch (asked.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: services.map(({ typeName: name }) => ({ name })) },
        };
      case "fileByFilename":
        return files(byName.get(asked.value), "file");
      case "fileContainingSymbol":
        return files(bySymbol.get(asked.value), "symbol");
      case "allExtensionNumbersOfType":
      case "fileContainingExtension":
        return notFound("extension");
      case undefined:
        return { case: "errorResponse", value: { errorCode: Code.InvalidArgument, errorMessage: "nothing is asked" } };
    }
  };
}

function index(services: readonly DescService[]) {
  const byName = new Map<string, DescFile>();
  const bySymbol = new Map<string, DescFile>();
  for (const file of new Set(services.flatMap((service) => closure(service.file)))) {
    byName.set(file.proto.name, file);
    for (const type of nestedTypes(file)) {
      bySymbol.set(type.typeName, file);
      const parts = type.kind === "service" ? type.methods : type.kind === "message" ? type.fields : [];
      for (const { name } of parts) bySymbol.set(`${type.typeName}.${name}`, file);
    }
  }
  return { byName, bySymbol };
}

/** A file and all that it needs, each once: one answer is enough for a client. */
function closure(file: DescFile): DescFile[] {
  return [...new Set([file, ...file.dependencies.flatMap(closure)])];
}

function encoded(file: DescFile): Uint8Array<ArrayBuffer>[] {
  return closure(file).map(({ proto }) => toBinary(FileDescriptorProtoSchema, proto));
}

function notFound(what: string): Answer {
  return { case: "errorResponse", value: { errorCode: Code.NotFound, errorMessage: `no such ${what}` } };
}
