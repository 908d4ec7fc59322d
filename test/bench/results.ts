import type { AdminFigures } from "./admin-routes.ts";
import type { LoadFigures } from "./figures.ts";
import type { IdleMemory } from "./idle-memory.ts";
import type { KeysFigures } from "./keys-at-scale.ts";
import type { MigrateFigures } from "./migrate.ts";
import type { MovesFigures } from "./moves.ts";
import type { RekeyFigures } from "./rekey.ts";
import type { RootsFigures } from "./roots.ts";
import type { ScrapeFigures } from "./scrapes.ts";
import type { StartUp } from "./start-up.ts";
import type { StoredBytes } from "./stored-bytes.ts";
import type { TwoRegionsFigures } from "./two-regions.ts";
import type { WitnessedFigures } from "./witnessed.ts";

/** Everything that one run measured; parts that were not selected are empty or absent. */
export interface Results {
  readonly loads: readonly LoadFigures[];
  readonly idleMemory: readonly IdleMemory[];
  readonly storedBytes: readonly StoredBytes[];
  readonly startUp?: StartUp;
  readonly twoRegions?: TwoRegionsFigures;
  readonly keys?: KeysFigures;
  readonly rekey?: RekeyFigures;
  readonly moves?: MovesFigures;
  readonly migrate?: MigrateFigures;
  readonly witnessed?: WitnessedFigures;
  readonly roots?: RootsFigures;
  readonly admin?: AdminFigures;
  readonly scrapes?: ScrapeFigures;
}
