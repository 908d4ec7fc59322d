/** The version of this build; the package's own, held by a test. */
export const version = "0.1.0";
