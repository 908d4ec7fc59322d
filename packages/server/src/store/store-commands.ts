import {
  forgetReplica,
  initialiseStore,
  listReplicas,
  type RedisConnectionOptions,
} from "@holdfast/redis";
import { parseAddress } from "../base/address.ts";
import { OperatorError } from "../base/operator-error.ts";
import type { Environment, Machine } from "../base/system.ts";
import { loadConfig } from "../config/config.ts";
import { openCommandRoot } from "../roots/command-root.ts";
import { storeConnection } from "./store-access.ts";
import { storeFault } from "./store-faults.ts";

/**
 * Marks the configured Redis as a store, whose key the configured root of trust wraps; reports what was made, or that it
 * already was one. `members` are addresses of other Redis of this store, which are asked too.
 */
export async function initStore(
  configFile: string,
  machine: Machine,
  members: readonly string[] = [],
): Promise<string> {
  const { environment, ids } = machine;
  const config = loadConfig(configFile);
  const { region } = config;
  const wrong = members.find((member) => parseAddress(member) === undefined);
  if (wrong !== undefined) {
    throw new OperatorError(`--member ${wrong}: give a host with a port, such as 10.0.1.1:6379`);
  }
  await using root = await openCommandRoot(config, machine);
  const made = await atStore(configFile, environment, (connection) =>
    initialiseStore({ ...connection, region, members, ids, root }),
  );
  if (made.already) return `${made.address} is already store ${made.storeId} (nothing to do)`;
  return `store ${made.storeId} made at ${made.address}, held by ${made.replicas} replicas`;
}

/** One line for each replica that barriers wait for. */
export async function list(configFile: string, environment: Environment): Promise<string[]> {
  const replicas = await atStore(configFile, environment, listReplicas);
  return replicas.map(({ address, firstSeenMs, connected }) => {
    const state = connected ? "connected" : "not connected";
    return `${address} ${state}, known since ${new Date(firstSeenMs).toISOString()}`;
  });
}

/** Forgets a replica: the operator confirms that it is gone for good. */
export async function forget(
  configFile: string,
  environment: Environment,
  replica: string,
): Promise<string[]> {
  const known = await atStore(configFile, environment, (connection) =>
    forgetReplica(connection, replica),
  );
  if (!known) throw new OperatorError(`--forget ${replica}: no such replica is known`);
  return [`${replica} is forgotten`];
}

async function atStore<Result>(
  configFile: string,
  environment: Environment,
  work: (connection: RedisConnectionOptions) => Promise<Result>,
): Promise<Result> {
  const config = loadConfig(configFile);
  const connection = storeConnection(config.store, environment);
  try {
    return await work(connection);
  } catch (error) {
    throw storeFault(error, config.store, configFile);
  }
}
