/** The version of this build; a test checks that it is the package's. */
export const version = "0.1.0";
