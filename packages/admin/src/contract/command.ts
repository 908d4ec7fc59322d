import type { ProblemCode } from "./problems.ts";

/** The columns of a list, the most important first, each `HEADING=path` or `HEADING=path|format`. */
export interface Layout {
  /** What the rows are, in the plural: an empty list says "no certificates". */
  readonly of: string;
  readonly columns: readonly string[];
  /** What is shown on lines of its own below each row at a terminal. */
  readonly below?: readonly string[];
  /** What a terminal does not show: identifiers and fingerprints. */
  readonly wide?: readonly string[];
  /** The heading of a column that continues in the next line where it does not fit; others are cut. */
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
  /** Fields of the contract that have an option of another kind here. */
  readonly hidden?: readonly string[];
  /** Takes `--root`, for one region or for several. */
  readonly roots?: "rootOfTrust" | "regions" | "lookup";
  /** A field that confirms: asked for at a terminal where it is not given. */
  readonly confirm?: {
    readonly field: string;
    readonly of: string;
    readonly when?: string;
    /** Completes "nothing was …". */
    readonly does: string;
    /** It is also asked for, and `when` is sent, where the service refuses with this code. */
    readonly refused?: ProblemCode;
  };
  /** An answer's field that is written to a file, or printed alone: never in a table; or not printed at all. */
  readonly output?: readonly {
    readonly field: string;
    readonly option: string;
    readonly onlyFile?: true;
  }[];
  /** `--wait` until the instance has one of these statuses. */
  readonly wait?: readonly string[];
  readonly example?: string;
}
