import { createServer } from "node:net";
import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";
import { HealthImplementation, type ServingStatusMap } from "grpc-health-check";
import { type Address, printAddress } from "../base/address.ts";
import type { Health, HealthReport } from "./health.ts";
import type { OpenListener } from "./http.ts";
import { boundProbers, listening } from "./probers.ts";

/** How long a connection may stay open without a call, and without an answer to a ping. */
const idleUsualMs = 30_000;

/** Opens gRPC health v1 (Check, Watch, List). Answers come from the last known state. */
export async function openGrpcHealth(
  listen: Address,
  health: Health,
  idleMs: number = idleUsualMs,
): Promise<OpenListener> {
  // The library would print its own lines in addition to the one from `listenError`.
  setLogVerbosity(logVerbosity.NONE);
  const service = new HealthImplementation(statuses(health.report()));
  let told = statuses(health.report());
  health.onChange((report) => {
    const now = statuses(report);
    // Notify watchers of changes only.
    for (const [name, status] of Object.entries(now)) {
      if (told[name] !== status) service.setStatus(name, status);
    }
    told = now;
  });
  const server = new Server({
    "grpc.max_receive_message_length": 4096,
    "grpc.max_concurrent_streams": 100,
    "grpc.max_connection_idle_ms": idleMs,
    "grpc.keepalive_time_ms": idleMs,
    "grpc.keepalive_timeout_ms": idleMs,
  });
  service.addToServer(server);
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const listener = createServer({ noDelay: true }, (socket) => injector.injectConnection(socket));
  const probers = boundProbers(listener);
  const port = await listening(listener, listen, "health.listen");
  return {
    address: printAddress({ host: listen.host, port }),
    // Watches never end by themselves, so do not wait for them.
    close: async () => {
      listener.close();
      server.forceShutdown();
      probers.close();
    },
  };
}

function statuses(report: HealthReport): ServingStatusMap {
  return Object.fromEntries(
    Object.entries(report.services).map(([name, serving]) => [
      name,
      serving ? "SERVING" : "NOT_SERVING",
    ]),
  );
}
