/** Lines that one failed test may print, including its first and last line. */
export const failureLinesMax = 30;

/**
 * Limits the report of each failed test to `failureLinesMax` lines: a printed value may have thousands.
 * @returns {(line: string) => string[]} what to print for the next line
 */
export function shortFailures() {
  /** Lines of the failure that is being reported; undefined between failures. */
  let lines = /** @type {number | undefined} */ (undefined);
  return (line) => {
    const plain = withoutColours(line);
    if (/^ FAIL /.test(plain)) lines = 0;
    if (lines === undefined) return [line];
    lines += 1;
    if (!/^⎯+\[\d+\/\d+\]⎯/.test(plain)) return lines < failureLinesMax - 1 ? [line] : [];
    const left = lines - failureLinesMax + 1;
    lines = undefined;
    return left > 0 ? [`  … ${left} more lines`, line] : [line];
  };
}

/** @param {string} line */
function withoutColours(line) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: a colour begins with an escape character
  return line.replace(/\u001b\[[\d;]*m/g, "");
}
