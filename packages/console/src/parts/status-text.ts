/** What the status of an instance means, in one sentence. */
const statuses: Readonly<Record<string, string>> = {
  Installing: "It is being made in every region.",
  Inactive: "It has no root of trust yet, so it has no keys and admits no client: configure one.",
  Configuring:
    "Its root of trust is set, and each region makes sure that it can be used; clients are admitted once every region can.",
  Installed: "It is ready: its clients are admitted, and its keys can be used in every region.",
  Removing: "It is being deleted: no client is admitted, and its keys are erased in every region.",
  Deleted: "It is deleted, and its keys can never be read again.",
};

/** What the state of a root of trust means, and what to do. */
const rootStates: Readonly<Record<string, string>> = {
  usable: "The root key opens the keys of this instance.",
  unreachable:
    "The key manager does not answer: open keys are used until the grace period is over. Make it reachable again.",
  denied: "The key manager refuses the login: give it the right again, or configure another login.",
  disabled: "The root key is disabled at its key manager: enable it there, then revalidate.",
  gone: "The root key does not exist any more: restore it at its key manager.",
  shredded:
    "A manager shredded the open keys: they stay shut until a manager revalidates the root.",
  unchecked: "It was not asked yet.",
};

/** What a status of an instance means; empty for one that this release does not know. */
export function statusSentence(status: string): string {
  return statuses[status] ?? "";
}

/** What a state of a root of trust means; empty for one that this release does not know. */
export function rootSentence(state: string): string {
  return rootStates[state] ?? "";
}
