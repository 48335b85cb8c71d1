/**
 * Places in the server's one order. An id is `msg_<place>`; the higher place is the later one.
 * @module
 */

/** Before the first place: no cursor yet. */
export const NOWHERE = -1;

/**
 * The place that an id names; `NOWHERE` if it is no message id.
 * @param {string | undefined | null} id
 * @returns {number}
 */
export function placeOf(id) {
  if (!id || !id.startsWith('msg_')) return NOWHERE;
  const digits = id.slice(4);
  const place = Number(digits);
  return Number.isSafeInteger(place) && place >= 0 && String(place) === digits ? place : NOWHERE;
}

/**
 * @param {number} place
 * @returns {string}
 */
export function idOf(place) {
  return `msg_${place}`;
}

/**
 * The place of the newest change of a message, or of the message itself.
 * @param {{id: string, changed_id?: string}} message
 * @returns {number}
 */
export function versionOf(message) {
  return Math.max(placeOf(message.id), placeOf(message.changed_id));
}
