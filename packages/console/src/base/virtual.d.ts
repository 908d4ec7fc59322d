declare module "virtual:contract" {
  /** Made from the contract by `vite.config.ts`. */
  export const operations: Readonly<Record<string, unknown>>;
}
