/**
 * The variables for a program whose output this process passes on: a terminal gets colours and a file does not, even if CI
 * is set.
 * @returns {Record<string, string | undefined>}
 */
export function colours() {
  return process.stdout.isTTY
    ? { FORCE_COLOR: "1", NO_COLOR: undefined }
    : { NO_COLOR: "1", FORCE_COLOR: undefined };
}
