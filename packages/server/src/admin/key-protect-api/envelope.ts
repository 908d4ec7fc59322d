import { setImmediate } from "node:timers/promises";
import type { collectionTypes } from "./bodies.ts";

/** What a route answers. */
export interface IbmAnswer {
  readonly status: 200 | 201 | 204;
  readonly type?: (typeof collectionTypes)[keyof typeof collectionTypes];
  readonly resources?: readonly object[];
  /** How many match without limit and offset; only if the query asks for it. */
  readonly totalCount?: number | undefined;
}

/** How many resources are printed in one turn of the event loop. */
const perTurn = 50;

/** The JSON of an answer, printed in parts, so that other work gets a turn; empty if it has none. */
export async function printed({ type, resources, totalCount }: IbmAnswer): Promise<string> {
  if (type === undefined || resources === undefined) return "";
  const metadata = {
    collectionType: type,
    collectionTotal: resources.length,
    ...(totalCount !== undefined && { totalCount }),
  };
  const parts: string[] = [];
  for (let at = 0; at < resources.length; at += perTurn) {
    if (at > 0) await setImmediate();
    parts.push(JSON.stringify(resources.slice(at, at + perTurn)).slice(1, -1));
  }
  return `{"metadata":${JSON.stringify(metadata)},"resources":[${parts.join(",")}]}`;
}
