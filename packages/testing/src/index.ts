export { freePort } from "./free-port.ts";
export { Relay, type RelayState } from "./relay.ts";
export { answerOf, type ConditionResult, until } from "./until.ts";
export {
  batchItemId,
  type Login,
  VcenterConnection,
  type VcenterItem,
  vcenterItems,
  vcenterMessage,
} from "./vcenter-messages.ts";
