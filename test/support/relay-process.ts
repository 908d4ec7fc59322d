import { Relay, type RelayState } from "@holdfast/testing";

/** A request of the parent to a relay, which is identified by its port. */
export type RelayRequest = { readonly id: number; readonly port: number } & (
  | { readonly do: "open"; readonly targetPort: number }
  | { readonly do: "set"; readonly state: RelayState }
  | { readonly do: "reset" }
);

/** `error` is absent after success. */
export interface RelayAnswer {
  readonly id: number;
  readonly error?: string;
}

/** Relays run in their own process, so that a busy test does not add to their delay. */
const relays = new Map<number, Relay>();

async function carryOut(request: RelayRequest): Promise<void> {
  if (request.do === "open") {
    const listen = { host: "127.0.0.1", port: request.port };
    relays.set(request.port, await Relay.open(request.targetPort, { listen }));
    return;
  }
  const relay = relays.get(request.port);
  if (relay === undefined) throw new Error(`no relay at ${request.port}`);
  if (request.do === "set") relay.set(request.state);
  else relay.reset();
}

process.on("disconnect", () => process.exit());
process.on("SIGINT", () => undefined);
process.on("message", (request: RelayRequest) => {
  const { id } = request;
  carryOut(request).then(
    () => process.send?.({ id }),
    (error: unknown) => process.send?.({ id, error: String(error) }),
  );
});
