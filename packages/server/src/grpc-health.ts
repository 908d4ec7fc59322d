import { logVerbosity, Server, ServerCredentials, setLogVerbosity } from "@grpc/grpc-js";
import { HealthImplementation, type ServingStatusMap } from "grpc-health-check";
import { type Address, printAddress } from "./address.ts";
import type { Health, HealthReport } from "./health.ts";
import type { OpenListener } from "./http.ts";
import { listenError } from "./listen-error.ts";

/** Opens gRPC health v1 (Check, Watch, List). Answers are what was known last. */
export async function openGrpcHealth(listen: Address, health: Health): Promise<OpenListener> {
  // It would print lines of its own beside the one that `listenError` makes.
  setLogVerbosity(logVerbosity.NONE);
  const service = new HealthImplementation(statuses(health.report()));
  let told = statuses(health.report());
  health.onChange((report) => {
    const now = statuses(report);
    // Whoever watches hears changes only.
    for (const [name, status] of Object.entries(now)) {
      if (told[name] !== status) service.setStatus(name, status);
    }
    told = now;
  });
  const server = new Server({
    "grpc.max_receive_message_length": 4096,
    "grpc.max_concurrent_streams": 100,
  });
  service.addToServer(server);
  const target = printAddress(listen);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync(target, ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(listenError("health.listen", target, withCode(error)));
    });
  });
  return {
    address: printAddress({ host: listen.host, port }),
    // Watches never end by themselves, so there is nothing to wait for.
    close: async () => server.forceShutdown(),
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

/** gRPC wraps the system's error in words; `listenError` wants its code. */
function withCode(error: Error): Error {
  const code = /\b(EADDRINUSE|EADDRNOTAVAIL|EACCES)\b/.exec(error.message)?.[1];
  return code === undefined ? error : Object.assign(new Error(error.message), { code });
}
