export { OPERATIONS } from "./operations.js";
export { Client, newId, openClient } from "./client.js";
export { ClientError, Closed, ConnectionLost, Refused, isPassing } from "./errors.js";
export { idOf, placeOf, versionOf } from "./places.js";
