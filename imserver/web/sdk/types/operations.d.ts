/**
 * A request over REST: what is not in the path goes into the query, or into the body.
 * @param {Operation} operation
 * @param {Record<string, any>} request
 * @returns {{method: string, path: string, body: Record<string, any> | null}}
 */
export function restOf(operation: Operation, request: Record<string, any>): {
    method: string;
    path: string;
    body: Record<string, any> | null;
};
/** @type {Readonly<Record<string, Operation>>} */
export const OPERATIONS: Readonly<Record<string, Operation>>;
export type Operation = {
    ws: boolean;
    method?: string;
    path?: string;
};
