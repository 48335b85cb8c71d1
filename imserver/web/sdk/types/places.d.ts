/**
 * The place that an id names; `NOWHERE` if it is no message id.
 * @param {string | undefined | null} id
 * @returns {number}
 */
export function placeOf(id: string | undefined | null): number;
/**
 * @param {number} place
 * @returns {string}
 */
export function idOf(place: number): string;
/**
 * The place of the newest change of a message, or of the message itself.
 * @param {{id: string, changed_id?: string}} message
 * @returns {number}
 */
export function versionOf(message: {
    id: string;
    changed_id?: string;
}): number;
/**
 * Places in the server's one order. An id is `msg_<place>`; the higher place is the later one.
 * @module
 */
/** Before the first place: no cursor yet. */
export const NOWHERE: -1;
