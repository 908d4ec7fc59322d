export {
  createLocalRoot,
  LocalRoot,
  type LocalRootSources,
  openLocalRoot,
  rotateLocalRoot,
} from "./local/local-root.ts";
