export { type Item, ItemType, type Structure } from "./item.ts";
