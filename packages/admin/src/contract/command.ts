import type { ProblemCode } from "./problems.ts";

/** The columns of a list, the most important first, each `HEADING=path` or `HEADING=path|format`. */
export interface Layout {
  /** What the rows are, in the plural: an empty list says "no certificates". */
  readonly of: string;
  readonly columns: readonly string[];
  /** Columns that a terminal shows on separate lines below each row. */
  readonly below?: readonly string[];
  /** Columns that a terminal does not show: identifiers and fingerprints. */
  readonly wide?: readonly string[];
  /** The heading of a column that wraps if it does not fit; other columns are cut. */
  readonly wrap?: string;
}

/** How an operation of the API is given on the command line, beyond what the contract says. */
export interface CommandRow {
  /** The words of the command, such as `instance list`. */
  readonly words: string;
  /** How its list is shown. */
  readonly list?: Layout;
  /** Body fields that are read from a file: the option's value is a path, `-` for standard input. */
  readonly files?: Readonly<Record<string, string>>;
  /** Body fields that are secrets: read from `--X-file`, or asked for at a terminal; never an argument. */
  readonly secrets?: readonly string[];
  /** Fields of the contract that another option replaces on the command line. */
  readonly hidden?: readonly string[];
  /** The command takes `--root`; which part of the request it fills. */
  readonly roots?: "rootOfTrust" | "regions" | "lookup";
  /** A field that confirms the command: asked for at a terminal if it is not given. */
  readonly confirm?: {
    readonly field: string;
    readonly of: string;
    readonly when?: string;
    /** Completes "nothing was …". */
    readonly does: string;
    /** If the service refuses with this code, the field is asked for and sent with `when`. */
    readonly refused?: ProblemCode;
  };
  /** Fields of the answer that go to a file or are printed separately, never in a table. */
  readonly output?: readonly {
    readonly field: string;
    readonly option: string;
    readonly onlyFile?: true;
  }[];
  /** `--wait` waits until the instance has one of these statuses. */
  readonly wait?: readonly string[];
  readonly example?: string;
}
