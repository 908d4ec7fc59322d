import {
  type Answered,
  type Attempt,
  acrossNodes,
} from "../../packages/regions/src/peer/client/attempt.ts";
import { judge } from "../../packages/regions/src/peer/client/calls.ts";
import { peerClientTimes } from "../../packages/regions/src/peer/client/client-times.ts";
import { CallFailed, type CallFault } from "../../packages/regions/src/peer/status.ts";
import type { Life } from "./machine.ts";

/** How a request to one node ended. */
export type Outcome<Value> = { readonly value: Value } | { readonly fault: CallFault };

/** The nodes of a region, and how one is asked. */
export interface CarefulCall<Value> {
  readonly life: Life;
  /** The best one first. */
  readonly order: readonly number[];
  readonly attempt: (at: number) => Promise<Outcome<Value>>;
}

/** Asks one node after the other by the product's own rules, and says whether another one may have done it too. */
export async function askedCarefully<Value>({
  life,
  order,
  attempt,
}: CarefulCall<Value>): Promise<Answered<{ readonly at: number; readonly value: Value }>> {
  const ask = (at: number): Attempt<{ readonly at: number; readonly value: Value }> => {
    const result = attempt(at).then((outcome) => {
      if ("value" in outcome) return { at, value: outcome.value };
      throw new CallFailed(outcome.fault);
    });
    const onStall = (listener: () => void): void => {
      const callOff = life.after(peerClientTimes.stallMs, listener);
      result.then(callOff, callOff);
    };
    // Nobody hears a late answer; what was asked is done nevertheless.
    return { result, onStall, cancel: () => undefined };
  };
  return await acrossNodes(order, ask, judge);
}
