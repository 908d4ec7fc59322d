import type { DeletionStep } from "../../packages/server/src/management/instances/deletion.ts";
import { BackupRestore } from "./backup-restore.ts";
import { InstanceDeletion } from "./instance-deletion.ts";
import { InstanceManagement } from "./instance-management.ts";
import { KeyRestore } from "./key-restore.ts";
import { KeyRotations } from "./key-rotations.ts";
import type { SimNode } from "./node.ts";
import { Random } from "./random.ts";
import type { World } from "./world.ts";

/** What an operator orders during a history. */
export interface Order {
  /** Makes what the order needs, before the first fault. */
  prepare(): Promise<void>;
  /** The clients begin. */
  begin(): void;
  /** The faults are over. */
  end(): void;
  /** What is not over, or not right yet. */
  readonly open: string | undefined;
  /** Checks at the end, when both regions are the same; throws a `Violation`. */
  check(): Promise<void>;
  /** Whether something is back that a store had lost: then no order of the requests explains it. */
  readonly hasRevived?: boolean;
  /** A node is about to take a step of an instance's deletion. */
  deletes?(node: SimNode, step: DeletionStep): void;
}

/** An order that a history will have. */
export interface PlannedOrder {
  readonly name: OrderName;
  /** After the clients have begun. */
  readonly atMs: number;
  /** What it chooses by chance depends on this number alone. */
  readonly seed: number;
}

/** The orders by name. */
const orders = {
  "instance deleted": InstanceDeletion,
  "backup restored": BackupRestore,
  "instances managed": InstanceManagement,
  "keys restored": KeyRestore,
  "storage keys rotated": KeyRotations,
} as const;

type OrderName = keyof typeof orders;
export const orderNames = Object.keys(orders) as readonly OrderName[];

/** Gives an order to a world. */
export function makeOrder(world: World, { name, atMs, seed }: PlannedOrder): Order {
  return new orders[name](world, new Random(seed), atMs);
}
