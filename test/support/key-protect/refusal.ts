export {
  badBody,
  badField,
  badQuery,
  errorBody,
  Refusal,
} from "../../../packages/server/src/admin/key-protect-api/refusals.ts";
