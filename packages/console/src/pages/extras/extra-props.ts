import type { Params, ResourceModel } from "../resource-model.ts";

/** What an addition to a page gets. */
export interface ExtraProps {
  readonly model: ResourceModel;
  readonly params: Params;
  /** The filters in the address. */
  readonly query: Readonly<Record<string, string>>;
}
