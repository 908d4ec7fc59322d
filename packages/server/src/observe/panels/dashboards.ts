import { instances } from "./instances.ts";
import { kmip } from "./kmip.ts";
import { node } from "./node.ts";
import { overview } from "./overview.ts";
import type { Dashboard } from "./panel-row.ts";
import { regions } from "./regions.ts";
import { rootsOfTrust } from "./roots.ts";
import { store } from "./store.ts";

/** Every dashboard, in the order of its tabs. */
export const dashboards: readonly Dashboard[] = [
  overview,
  kmip,
  regions,
  store,
  rootsOfTrust,
  node,
  instances,
];
