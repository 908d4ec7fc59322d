/** What an instance's status can be, in the order of its life. */
export const instanceStatuses = [
  "Installing",
  "Inactive",
  "Configuring",
  "Installed",
  "Removing",
  "Deleted",
] as const;

/** An instance's status. */
export type InstanceStatus = (typeof instanceStatuses)[number];

/** The states of a region's root of trust for an instance. */
export const crkStates = [
  "usable",
  "unreachable",
  "denied",
  "disabled",
  "gone",
  "shredded",
  "unchecked",
] as const;
